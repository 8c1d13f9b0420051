//! Which Go is installed, and whether it will do.

use std::fmt;

use tokio::process::Command;

use super::{AssetsError, Program};

/// A version of Go, like 1.26.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoVersion {
    /// First number.
    pub major: u32,
    /// Second number: the language version.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl GoVersion {
    /// Reads what `go env GOVERSION` prints: `go1.26.3`, `go1.27` or `go1.27rc1 X:nocoverageredesign`. A pre-release
    /// counts as its release. A development version (`devel go1.27-ab12cd34`) has no number to compare: `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.trim().strip_prefix("go")?;
        let end = numbers.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(numbers.len());
        let mut numbers = numbers.get(..end)?.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let patch = numbers.next().map_or(Some(0), Result::ok)?;
        Some(Self { major, minor, patch })
    }
}

impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Whether the installed Go can build what needs `needed`, by itself or by fetching a newer one, which it may unless
/// `GOTOOLCHAIN` pins it (<https://go.dev/doc/toolchain>). A Go before 1.21 knows no `GOTOOLCHAIN` and prints nothing.
fn suffices(needed: GoVersion, installed: &str, toolchain: &str) -> bool {
    let switches = matches!(toolchain, "auto" | "path") || toolchain.ends_with("+auto") || toolchain.ends_with("+path");
    switches || GoVersion::parse(installed).is_none_or(|installed| installed >= needed)
}

/// Makes sure that there is a Go which can build `program`, `needed` or newer.
pub(super) async fn check(program: Program, needed: GoVersion) -> Result<(), AssetsError> {
    // Outside of any module, so that the answer is about the installed Go and not about one it would switch to.
    let output = Command::new("go").args(["env", "GOVERSION", "GOTOOLCHAIN"]).current_dir("/").output().await;
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(AssetsError::GoMissing { program, needed });
        }
        Err(error) => return Err(AssetsError::io("run", "go")(error)),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (installed, toolchain) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if suffices(needed, installed, toolchain) {
        Ok(())
    } else {
        Err(AssetsError::GoTooOld { program, needed, found: installed.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32, patch: u32) -> Option<GoVersion> {
        Some(GoVersion { major, minor, patch })
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(GoVersion::parse("go1.26.8"), version(1, 26, 8));
        assert_eq!(GoVersion::parse("go1.27\n"), version(1, 27, 0));
        assert_eq!(GoVersion::parse("go1.27rc1"), version(1, 27, 0));
        assert_eq!(GoVersion::parse("go1.26.3 X:nocoverageredesign"), version(1, 26, 3));
        for odd in ["devel go1.27-ab12cd34", "go", "go1", "go1.", "go1.26.", "1.26", "", "go99999999999.1"] {
            assert_eq!(GoVersion::parse(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn an_old_go_suffices_only_if_it_may_switch() {
        let needed = GoVersion { major: 1, minor: 26, patch: 0 };
        assert!(suffices(needed, "go1.26.0", "local"));
        assert!(suffices(needed, "go1.30", "local"));
        assert!(suffices(needed, "go1.24.1", "auto"));
        assert!(suffices(needed, "go1.24.1", "go1.24.1+auto"));
        assert!(!suffices(needed, "go1.25.9", "local"));
        assert!(!suffices(needed, "go1.25.9", "go1.25.9"));
        assert!(!suffices(needed, "go1.19.8", ""));
        assert!(suffices(needed, "devel go1.27-ab12cd34", "local"), "left to go build to judge");
    }
}
