//! Which modules a source file names: `use` trees and paths in code, with
//! `self` and `super` resolved to the crate's root.

/// A path named in a file: its segments from the crate's root, and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// The module that a file under `src/` is, as segments from the crate's root.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut segments: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if matches!(
        segments.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        segments.pop();
    }
    segments
}

/// Every path in `code` (comments and strings blanked) that begins with
/// `crate` or `super`.
pub(crate) fn imports(path: &str, code: &str) -> Vec<Import> {
    let home = module_of(path);
    let mut inner: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut found = Vec::new();
    let tokens = tokens(code);
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map_or("", |i| tokens[i].text);
        let after = tokens.get(index + 1).map_or("", |token| token.text);
        match token.text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inner.retain(|(_, opened)| *opened <= depth);
            }
            "mod" if tokens.get(index + 2).is_some_and(|token| token.text == "{") => {
                inner.push((after.to_owned(), depth + 1));
            }
            "crate" | "super" if before != "::" && before != "(" && after == "::" => {
                let mut base = home.clone();
                base.extend(inner.iter().map(|(name, _)| name.clone()));
                let mut rest = &tokens[index..];
                if token.text == "crate" {
                    base.clear();
                    rest = &rest[2..];
                }
                while let [first, second, tail @ ..] = rest
                    && first.text == "super"
                    && second.text == "::"
                {
                    base.pop();
                    rest = tail;
                }
                let mut leaves = Vec::new();
                tree(rest, &base, &mut leaves);
                let line = super::source::line_of(code, token.at);
                found.extend(leaves.into_iter().map(|segments| Import { segments, line }));
            }
            _ => {}
        }
    }
    found
}

struct Token<'a> {
    text: &'a str,
    at: usize,
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut chars = code.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let mut end = at + c.len_utf8();
        if c.is_alphanumeric() || c == '_' {
            while let Some((next, _)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
                end = next + code[next..].chars().next().map_or(1, char::len_utf8);
            }
        } else if c == ':' && chars.next_if(|(_, c)| *c == ':').is_some() {
            end += 1;
        } else if c.is_whitespace() {
            continue;
        }
        out.push(Token {
            text: &code[at..end],
            at,
        });
    }
    out
}

/// Expand a use tree (or a plain path) into its leaves; returns the tokens
/// consumed.
fn tree(tokens: &[Token<'_>], base: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    let mut path = base.to_vec();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while let Some(token) = tokens.get(at) {
                match token.text {
                    "}" => return at + 1,
                    "," => at += 1,
                    _ => at += tree(&tokens[at..], &path, leaves).max(1),
                }
            }
            return at;
        }
        if !token
            .text
            .starts_with(|c: char| c.is_alphanumeric() || c == '_')
        {
            break;
        }
        if token.text != "self" {
            path.push(token.text.to_owned());
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            break;
        }
        at += 1;
    }
    leaves.push(path);
    // `as name` belongs to the leaf.
    if tokens.get(at).is_some_and(|token| token.text == "as") {
        at += 2;
    }
    at
}
