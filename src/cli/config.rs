//! `config check`: the configuration in force, or (before it comes to this) all that is wrong.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::{Context, Failure, print};

/// Prints a configuration that was found good.
pub(super) fn check(context: &Context) -> Result<ExitCode, Failure> {
    let Context { config, json } = context;
    let warnings = config.warnings();
    if *json {
        let shown = serde_json::json!({
            "source": config.source,
            "config": config.to_json(),
            "warnings": warnings,
        });
        print(&shown.to_string())?;
    } else {
        print(&format!("# From {}\n{}", config.source, config.to_toml()))?;
        for warning in warnings {
            // Standard error may be closed; the configuration is good all the same.
            let _ = writeln!(io::stderr(), "warning: {warning}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
