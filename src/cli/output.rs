//! Standard output and standard error, for people and for machines.

use std::io::{self, ErrorKind, Write as _};

use super::Failure;

/// Prints `text` to standard output, ended with a line end. Nobody reading on (`| head`) is no
/// failure.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = write!(out, "{text}{end}").and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(Box::new(error)))
        }
        _ => Ok(()),
    }
}

/// Says why something failed: text to standard error, or, with `--json`, an object to standard
/// output.
pub(super) fn failure(failure: &Failure, json: bool) {
    if json {
        let object = match failure {
            Failure::Config(errors) => {
                let problems: Vec<_> = errors
                    .problems
                    .iter()
                    .map(|problem| {
                        serde_json::json!({
                            "place": problem.place, "key": problem.key, "what": problem.what,
                        })
                    })
                    .collect();
                serde_json::json!({ "error": "configuration", "problems": problems })
            }
            other => serde_json::json!({ "error": other.to_string() }),
        };
        // Standard output may be gone: nothing is left to say it to.
        let _ = print(&object.to_string());
    } else {
        let _ = writeln!(io::stderr(), "cofferdam: {failure}");
    }
}
