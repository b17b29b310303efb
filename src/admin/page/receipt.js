
// What the drain did, and what happened.

function drawReceipt(state) {
  const receipt = state.receipt ?? state.former?.receipt;
  show(byId("receipt"), Boolean(receipt));
  if (!receipt) return;
  put(byId("verdict"), verdict(receipt));
  mark(byId("verdict"), "lost", String(receipt.lost > 0));
  put(byId("receipt-about"), receiptAbout(receipt, state));
  each(byId("receipt-sums"), receiptSums(receipt), ([name]) => name, () => row(5, [1, 2, 3, 4]), (made, [name, one]) => {
    fill(made, [name, ...[one.opened, one.finished, one.farewelled, one.cut].map(number)]);
  });
  show(byId("receipt-told-box"), receipt.told.length > 0);
  each(byId("receipt-told"), receipt.told.map((one, at) => [at, one]), ([at]) => at, () => row(5, [4]), (made, [, one]) => fill(made, toldCells(one)));
  show(byId("receipt-more"), receipt.told_omitted > 0);
  put(byId("receipt-more"), `And ${number(receipt.told_omitted)} more.`);
}

function verdict(receipt) {
  const inFlight = Object.values(receipt.requests);
  const of = (what) => number(sum(inFlight.map((one) => one[what])));
  const lost = receipt.lost === 0 ? "Nothing was lost" : `${number(receipt.lost)} lost`;
  return `${lost}: of ${of("opened")} requests, streams and tunnels ${of("finished")} finished, ${of("farewelled")} were told to leave in their own protocol, ${of("cut")} were cut.`;
}

function receiptAbout(receipt, state) {
  const from = clock(receipt.started_unix_ms);
  const to = clock(receipt.started_unix_ms + receipt.duration_ms);
  const whose = !state.receipt && state.former ? `Of process ${state.former.pid}, which was here before. ` : "";
  const foretold = receipt.foretold[0];
  const guess = foretold ? ` The forecast at its beginning had said ${span(foretold.duration_ms)}.` : "";
  const hint = receipt.compliance.announce_sufficed === false ? ` Clients still came after readiness had failed: announce = "${whole(receipt.compliance.suggested_announce_ms).replace(" ", "")}" would have been long enough.` : "";
  return `${whose}From ${from} to ${to}, ${span(receipt.duration_ms)}${by(receipt.trigger)}.${guess}${hint}`;
}

function receiptSums(receipt) {
  const rows = Object.entries(receipt.requests).map(([name, one]) => [`In flight: ${protocol(name)}`, one]);
  return [["Connections", receipt.connections], ...rows];
}

function toldCells(one) {
  const doing = `${protocol(one.protocol)}: ${DOING[one.doing] ?? one.doing}`;
  const what = one.outcome === "cut" ? "nothing that it took: cut" : TOLD[one.what] ?? one.what;
  return [one.peer, doing, what, WHY[one.why] ?? one.why, span(one.age_ms)];
}

function drawFeed(state) {
  each(byId("feed"), state.feed, (one) => one.key, (one) => {
    const item = element("li");
    const time = element("time", "", clock(one.at));
    time.dateTime = new Date(one.at).toISOString();
    item.append(time, element("span", "", one.text));
    return item;
  }, () => {});
}
