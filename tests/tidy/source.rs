//! Project text as the checks see it: files, and Rust with its comments and
//! strings blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the project.
pub(crate) struct Source {
    /// Relative to the project's root, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Text with every comment, string and character literal blanked out;
    /// lines stay where they are.
    pub(crate) fn code(&self) -> String {
        blank(&self.text)
    }

    /// The same without anything that is compiled for tests only.
    pub(crate) fn product_code(&self) -> String {
        without_tests(&self.code())
    }

    pub(crate) fn is_rust(&self) -> bool {
        Path::new(&self.path)
            .extension()
            .is_some_and(|extension| extension == "rs")
    }
}

/// The 1-based line of a byte offset.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Every text file under these files and directories of the project.
pub(crate) fn read(roots: &[&str]) -> Vec<Source> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for root in roots {
        collect(&project.join(root), &mut files);
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            let relative = file.strip_prefix(project).ok()?;
            let path = relative.to_string_lossy().replace('\\', "/");
            Some(Source { path, text })
        })
        .collect()
}

/// The Rust sources of the library and the binary, test-only files left out.
pub(crate) fn product() -> Vec<Source> {
    let mut sources = read(&["src"]);
    let test_only: Vec<String> = sources.iter().flat_map(test_modules).collect();
    sources.retain(|source| {
        source.is_rust()
            && !test_only.iter().any(|stem| {
                source.path == format!("{stem}.rs") || source.path.starts_with(&format!("{stem}/"))
            })
    });
    sources
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_path_buf());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        collect(&entry.path(), files);
    }
}

/// Paths without `.rs` of the modules that `#[cfg(test)] mod name;` declares.
fn test_modules(source: &Source) -> Vec<String> {
    let Some(home) = source.path.strip_suffix(".rs") else {
        return Vec::new();
    };
    let (parent, stem) = home.rsplit_once('/').unwrap_or(("", home));
    let home = match stem {
        "mod" | "lib" | "main" => parent,
        _ => home,
    };
    let code = source.code();
    code.match_indices("#[cfg(test)]")
        .filter_map(|(at, attribute)| {
            let item = code[at + attribute.len()..].split(['{', ';']).next()?;
            let name = item.trim().rsplit_once("mod ")?.1.trim();
            Some(format!("{home}/{name}"))
        })
        .collect()
}

fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(&out, start);
        let blanked: String = out[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blanked);
        from = start;
    }
    out
}

/// The end of the item that begins at `start`: its `;` or its closing brace.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[start..].char_indices() {
        match c {
            ';' if depth == 0 => return start + offset + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return start + offset + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The offset just past the brace that closes the one at `open`.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    item_end(code, open)
}

fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(text, at);
        if end == at {
            let width = text[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[at..at + width]);
            at += width;
        } else {
            out.extend(
                bytes[at..end]
                    .iter()
                    .map(|b| if *b == b'\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none
/// does.
fn literal_or_comment(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let boundary = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + until(rest, b'\n'),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + quoted(rest),
        [b'\'', ..] => at + character(&text[at..]),
        [b'r', ..] | [b'b' | b'c', b'r', ..] if boundary => {
            let prefix = rest
                .iter()
                .take_while(|b| matches!(**b, b'b' | b'c' | b'r'))
                .count();
            at + raw(rest, prefix)
        }
        _ => at,
    }
}

fn until(rest: &[u8], stop: u8) -> usize {
    rest.iter().position(|b| *b == stop).unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return at + 2,
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal's length; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut inner = rest[1..].chars();
    let first = inner.next().map_or(0, char::len_utf8);
    if rest[1..].starts_with('\\') {
        // The escaped character may itself be a quote.
        let tail = rest.as_bytes().get(3..).unwrap_or_default();
        return (4 + until(tail, b'\'')).min(rest.len());
    }
    if inner.next() == Some('\'') {
        first + 2
    } else {
        0
    }
}

fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let close: Vec<u8> = std::iter::once(b'"')
        .chain(std::iter::repeat_n(b'#', hashes))
        .collect();
    let body = prefix + hashes + 1;
    rest[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(rest.len(), |found| body + found + close.len())
}
