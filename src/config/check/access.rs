//! The access log: templates are parsed here, once.
//!
//! Purpose: a template becomes pieces that can be written without a look at
//! its text, and a field that does not exist is found when the file is loaded.
//!
//! Invariant: no piece holds a control character but a tab, so that a line is
//! a line.
//!
//! Deliberately absent: fields that only some protocols have being refused for
//! others; they are written as absent.

use super::super::file::{Access as Written, AccessTable, Template};
use super::super::model::{Access, AccessField, AccessForm, AccessPiece, AccessValue};
use super::super::read::{At, nearest};
use super::super::report::{Fault, Problem, Reported, quote};
use super::{Check, all};

/// Bytes that a template may have.
const LONGEST: usize = 4096;

impl Check<'_> {
    pub(super) fn access(&self, written: Option<At<Written>>) -> Result<Option<Access>, Reported> {
        let Some(written) = written else {
            return Ok(None);
        };
        let table = match written.value? {
            Written::Usual(is) => {
                return Ok(is.then_some(Access {
                    file: None,
                    form: AccessForm::Usual,
                }));
            }
            Written::Set(table) => table,
        };
        let AccessTable { file, template } = table;
        let file = file.map(|file| {
            self.parse(&file, |path| {
                let in_file = "lines go to a file; write its path, e.g. `\"log/access.log\"`";
                self.file("file", path, in_file)
            })
        });
        let form = template.map_or(Ok(AccessForm::Usual), |template| self.form(template));
        Ok(Some(Access {
            file: file.transpose()?,
            form: form?,
        }))
    }

    fn form(&self, template: At<Template>) -> Result<AccessForm, Reported> {
        match template.value? {
            Template::Text(text) => {
                let pieces = pieces(&text).map(AccessForm::Text);
                pieces.or_else(|fault| self.refuse(fault.at(&template.span)))
            }
            Template::Fields(names) if names.is_empty() => {
                let problem = Problem::at(&template.span, "`template` names no field");
                self.refuse(problem.help(KNOWN.to_string()))
            }
            Template::Fields(names) => {
                all(names, |name| self.parse(&name, field)).map(AccessForm::Json)
            }
        }
    }
}

/// The usual fields, as text or as JSON.
pub(in crate::config) fn usual(text: bool) -> AccessForm {
    match pieces(AccessForm::USUAL_TEXT) {
        Ok(pieces) if text => AccessForm::Text(pieces),
        _ => AccessForm::Json(AccessField::usual()),
    }
}

/// Says which fields there are.
struct Known;
const KNOWN: Known = Known;

impl std::fmt::Display for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the fields are {} and request.NAME", names().join(", "))
    }
}

fn names() -> Vec<&'static str> {
    let values = AccessValue::NAMES.into_iter().map(|(name, _)| name);
    let headers = AccessValue::HEADERS.into_iter().map(|(name, _)| name);
    values.chain(headers).collect()
}

fn field(name: &str) -> Result<AccessField, Fault> {
    AccessField::named(name).ok_or_else(|| {
        let help = match nearest(name, &names()) {
            _ if name.starts_with("request.") => {
                "write the name of a header field, e.g. `request.x-tenant`".into()
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => KNOWN.to_string(),
        };
        Fault::new(format!("there is no field {}", quote(name)), help)
    })
}

/// A template's pieces: text, and fields in braces; `{{` and `}}` are braces.
fn pieces(text: &str) -> Result<Vec<AccessPiece>, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("`template` cannot be empty", KNOWN.to_string()));
    }
    if text.len() > LONGEST {
        let help = format!("write {LONGEST} bytes at most");
        return Err(Fault::new("`template` is too long", help));
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        let help = "a template is one line; leave its end out";
        return Err(Fault::new("`template` holds a control character", help));
    }
    let alone = |brace| {
        let what = format!("`template` has a `{brace}` that nothing goes with");
        Fault::new(what, "write `{field}`, or `{{` and `}}` for braces")
    };
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let brace = &from[..1];
        if from[1..].starts_with(brace) {
            plain.push_str(brace);
            rest = &from[2..];
            continue;
        }
        let end = from.find('}').filter(|_| brace == "{");
        let end = end.ok_or_else(|| alone(brace))?;
        if !plain.is_empty() {
            pieces.push(AccessPiece::Plain(std::mem::take(&mut plain)));
        }
        pieces.push(AccessPiece::Field(field(&from[1..end])?));
        rest = &from[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(AccessPiece::Plain(plain));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let pieces = pieces(text).expect(text);
        let shown = pieces.iter().map(|piece| match piece {
            AccessPiece::Plain(plain) => format!("'{plain}'"),
            AccessPiece::Field(field) => format!("<{}>", field.name),
        });
        shown.collect()
    }

    #[test]
    fn templates_are_taken_apart() {
        assert_eq!(shown("{client}"), "<client>");
        assert_eq!(
            shown("a {method} \"{path}\" z"),
            "'a '<method>' \"'<path>'\" z'"
        );
        assert_eq!(shown("{{{status}}}"), "'{'<status>'}'");
        assert_eq!(shown("{request.x-tenant}"), "<request.x-tenant>");
        assert_eq!(shown("none"), "'none'");
        assert!(pieces(AccessForm::USUAL_TEXT).is_ok());
        assert_eq!(AccessField::usual().len(), 21);
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said() {
        for (text, what, help) in [
            ("", "empty", "the fields are time"),
            ("{statsu}", "`statsu`", "did you mean `status`?"),
            ("{zzz}", "`zzz`", "request.NAME"),
            ("{request.a b}", "no field", "x-tenant"),
            ("{client", "a `{`", "`{{`"),
            ("client}", "a `}`", "`}}`"),
            ("{}", "no field", "the fields are"),
            ("a\nb", "control", "one line"),
        ] {
            let fault = pieces(text).expect_err(text);
            assert!(fault.what.contains(what), "{text}: {fault:?}");
            assert!(fault.help.contains(help), "{text}: {fault:?}");
        }
    }

    #[test]
    fn every_name_is_a_field() {
        for name in names() {
            assert_eq!(field(name).expect(name).name, name);
        }
    }
}
