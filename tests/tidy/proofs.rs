//! The tests that `docs/testing.md` names: a page that promises a test which
//! is not there is worse than none.

/// The stages and protocols whose cells must name a test.
const ROWS: [&str; 6] = ["announce", "refuse", "retire", "finish", "farewell", "cut"];
const COLUMNS: usize = 6;

/// What is wrong with the page `text`; `read` is asked for the text of a file
/// of the project.
pub(crate) fn offences(text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, target) in links(text) {
        let path = target.trim_start_matches("../");
        let Some((file, function)) = name.split_once("::") else {
            continue;
        };
        if !path.ends_with(&format!("/{file}")) {
            offences.push(format!("{name} leads to {target}"));
        } else if !read(path).is_some_and(|code| has_test(&code, function)) {
            offences.push(format!("{path} has no test {function}"));
        }
    }
    for row in ROWS {
        let start = format!("| {row} |");
        let line = text.lines().find(|line| line.starts_with(&start));
        let cells = line.map_or(0, |line| {
            let cells = line[start.len()..].split('|');
            cells.filter(|cell| links(cell).next().is_some()).count()
        });
        if cells != COLUMNS {
            let missing = COLUMNS - cells.min(COLUMNS);
            offences.push(format!("{row}: {missing} cells name no test"));
        }
    }
    offences
}

/// Links whose text is code: the code, and where they lead.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("[`").skip(1).filter_map(|rest| {
        let (name, rest) = rest.split_once("`](")?;
        let (target, _) = rest.split_once(')')?;
        Some((name, target))
    })
}

fn has_test(code: &str, function: &str) -> bool {
    let starts = code
        .match_indices("::test")
        .chain(code.match_indices("#[test"));
    let mut names = starts.filter_map(|(at, _)| {
        let (_, rest) = code[at..].split_once("fn ")?;
        rest.split_once('(').map(|(name, _)| name)
    });
    names.any(|name| name == function)
}
