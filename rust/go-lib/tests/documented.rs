//! Every public item that a user names has a runnable example, or says whose example shows it.
//! (That it has a text at all is `missing_docs`.)

use std::path::{Path, PathBuf};

/// The sources of what users name, and the runtime's items that are exported from there.
fn sources() -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all: Vec<PathBuf> =
        ["go", "panic", "scope", "time"].map(|name| src.join(name).with_extension("rs")).to_vec();
    for folder in ["chan", "context", "select", "sync"] {
        let files = std::fs::read_dir(src.join(folder)).expect("the sources are here");
        all.extend(files.map(|entry| entry.expect("an entry").path()));
    }
    all
}

/// The lines of documentation and attributes that stand before line `at`.
fn above<'a>(lines: &[&'a str], at: usize) -> Vec<&'a str> {
    let is_part = |line: &&&str| line.trim().starts_with("///") || line.trim().starts_with("#[");
    lines[..at].iter().rev().take_while(is_part).copied().collect()
}

/// The name of the public item that `line` begins.
fn item(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("pub ")?;
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let (kind, rest) = rest.split_once(' ')?;
    ["fn", "struct", "enum", "trait"].contains(&kind).then_some(())?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

/// The items without an example in `text`. Those of a hidden module or type are not for users.
fn without_example(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = |at: usize| above(&lines, at).iter().any(|l| l.contains("#[doc(hidden)]"));
    let hidden_types: Vec<&str> =
        (0..lines.len()).filter(|&at| hidden(at)).filter_map(|at| item(lines[at])).collect();
    let mut missing = Vec::new();
    let mut skipped = false;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("impl") || line.starts_with("pub mod") {
            skipped = hidden(at)
                || hidden_types.iter().any(|t| line.contains(&format!(" {t}<")))
                || hidden_types.iter().any(|t| line.contains(&format!(" {t} {{")));
        } else if line.starts_with('}') {
            skipped = false;
        }
        if line.starts_with("mod tests") {
            break;
        }
        let Some(name) = item(line).filter(|_| !skipped && !hidden(at)) else { continue };
        let documentation = above(&lines, at).join("\n");
        if !documentation.contains("/// ```") && !documentation.contains("/// See [") {
            missing.push(format!("{name} (line {})", at + 1));
        }
    }
    missing
}

#[test]
fn every_public_item_has_an_example() {
    let mut missing = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).expect("a source file");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        missing.extend(without_example(&text).into_iter().map(|item| format!("{name}: {item}")));
    }
    assert!(missing.is_empty(), "without an example:\n{}", missing.join("\n"));
}

#[test]
fn an_item_without_an_example_is_found() {
    let text = "/// Text.\npub struct Bare;\n\nimpl Bare {\n    /// ```\n    /// x\n    /// ```\n    \
                pub fn shown() {}\n\n    /// Text.\n    #[must_use]\n    pub const fn bare() {}\n}\n";
    assert_eq!(without_example(text), ["Bare (line 2)", "bare (line 12)"]);
}
