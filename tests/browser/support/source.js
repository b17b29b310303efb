// The page's scripts as modules have them, for what needs no document.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const HOME = new URL("../../../src/admin/page/", import.meta.url);

/** What these scripts define: `names` of it. */
export function source(files, names) {
  const text = files.map((file) => readFileSync(new URL(file, HOME), "utf8")).join("");
  const context = vm.createContext({ Intl, Date, Map, TextDecoder, performance });
  return vm.runInContext(`${text}\n({ ${names.join(", ")} })`, context);
}
