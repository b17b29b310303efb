//! Hooks: what runs when a drain reaches a stage, or a reload is done.
//!
//! Purpose: each `[[hook]]` becomes a [`Hook`].
//!
//! Invariant: whatever can be seen to fail now is refused now: a hook is
//! needed at the worst moment, when nobody has time to mend it.
//!
//! Deliberately absent: running anything.

use super::super::file;
use super::super::model::{Hook, HookRun};
use super::super::read::{At, Named, value_or};
use super::super::report::{Fault, Problem, Reported, quote};
use super::{Check, Choice, all};
use http::{HeaderName, HeaderValue, Method, Uri};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);

impl Check<'_> {
    pub(super) fn hook(&self, written: At<file::Hook>) -> Result<Hook, Reported> {
        let span = written.span;
        let written = written.value?;
        let timeout = self.time("timeout", written.timeout, TIMEOUT);
        let choice = (written.exec, written.http, written.file);
        let run = match self.choose(&span, "`exec`, `http` and `file`", choice)? {
            Choice::First(exec) => self.exec(exec),
            Choice::Second(http) => self.request(http.value?),
            Choice::Third(file) => self.write(file.value?),
        };
        Ok(Hook {
            on: written.on.value?.0,
            run: run?,
            timeout: timeout?,
        })
    }

    fn exec(&self, written: At<Vec<At<String>>>) -> Result<HookRun, Reported> {
        let words = written.value?;
        let Some(program) = words.first() else {
            let problem = Problem::at(&written.span, "`exec` is empty").label("no program to run");
            return self.refuse(problem.help("write the program, then its arguments"));
        };
        let program = self.parse(program, |text| self.program(text));
        let mut command = all(words, |word| word.value)?;
        command[0] = program?;
        Ok(HookRun::Exec { command })
    }

    /// The program to run: a bare name is left for `PATH`, a path must lead to
    /// a file.
    fn program(&self, text: &str) -> Result<String, Fault> {
        let example = "for example `exec = [\"/usr/local/bin/deregister\", \"web\"]`";
        if text.is_empty() {
            return Err(Fault::new("the program of `exec` is empty", example));
        }
        if !text.contains('/') {
            if text.contains(char::is_whitespace) {
                let what = format!("{} is not a program", quote(text));
                return Err(Fault::new(
                    what,
                    "there is no shell: write each argument as its own string",
                ));
            }
            return Ok(text.to_owned());
        }
        let path = self.path(text);
        if !path.is_file() {
            let what = format!("there is no program {}", quote(text));
            return Err(Fault::new(
                what,
                "a relative path starts at the directory of this file",
            ));
        }
        Ok(path.display().to_string())
    }

    fn request(&self, written: file::HookHttp) -> Result<HookRun, Reported> {
        let method = self.parse_or(written.method.as_ref(), Method::POST, |text| {
            let method = text
                .parse::<Method>()
                .ok()
                .filter(|_| text.chars().all(|c| c.is_ascii_uppercase()));
            method.ok_or_else(|| {
                let what = format!("{} is not an HTTP method", quote(text));
                Fault::new(what, "methods are upper case, e.g. `PUT`")
            })
        });
        let url = self.parse(&written.url, url);
        let fields = value_or(written.headers, Named::default());
        let headers = fields.and_then(|fields| {
            let headers = self.fields(fields, "a hook", |text| self.secret(text))?;
            let hidden = |(name, mut value): (HeaderName, HeaderValue)| {
                value.set_sensitive(true);
                (name, value)
            };
            Ok(headers.into_iter().map(hidden).collect())
        });
        let body = written.body.map(|body| body.value).transpose();
        Ok(HookRun::Http {
            method: method?,
            url: url?,
            headers: headers?,
            body: body?,
        })
    }

    fn write(&self, written: file::HookFile) -> Result<HookRun, Reported> {
        let path = self.parse(&written.path, |text| {
            if text.is_empty() {
                return Err(Fault::new(
                    "`path` cannot be empty",
                    "write the path of the file",
                ));
            }
            Ok(self.path(text))
        });
        let content = written.content.map(|content| content.value).transpose();
        Ok(HookRun::File {
            path: path?,
            content: content?,
        })
    }
}

fn url(text: &str) -> Result<Uri, Fault> {
    let uri: Option<Uri> = text.parse().ok();
    match uri
        .as_ref()
        .and_then(|uri| Some((uri.scheme_str()?, uri.host()?)))
    {
        Some(("http", host)) if !host.is_empty() => uri.ok_or_else(|| not_url(text)),
        Some(("https", _)) => Err(Fault::new(
            "a hook over `https` is not available in this version",
            "write an `http` URL, e.g. of an agent on this machine",
        )),
        _ => Err(not_url(text)),
    }
}

fn not_url(text: &str) -> Fault {
    let what = format!("{} is not an `http` URL", quote(text));
    Fault::new(
        what,
        "for example `\"http://127.0.0.1:8500/v1/agent/service/deregister/web\"`",
    )
}
