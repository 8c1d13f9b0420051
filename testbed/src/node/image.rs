//! An image of a single static program, as an archive that `ctr images import` takes.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::error::TestbedError;

/// Writes an image of the static `program` to `archive`, in the layout of `docker save`.
pub(super) fn write(name: &str, program: &Path, archive: PathBuf) -> Result<PathBuf, TestbedError> {
    match layers(name, program, &archive) {
        Ok(()) => Ok(archive),
        Err(source) => Err(TestbedError::Image { name: name.to_owned(), source }),
    }
}

fn layers(name: &str, program: &Path, archive: &Path) -> io::Result<()> {
    let file_name = program.file_name().unwrap_or_default();
    let mut layer = tar::Builder::new(Vec::new());
    // Without the owner and the times of this machine's file.
    layer.mode(tar::HeaderMode::Deterministic);
    layer.append_path_with_name(program, file_name)?;
    let layer = layer.into_inner()?;
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": [format!("/{}", file_name.to_string_lossy())], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut outer = tar::Builder::new(std::fs::File::create(archive)?);
    for (path, content) in [
        ("layer.tar", layer),
        ("config.json", serde_json::to_vec(&config)?),
        ("manifest.json", serde_json::to_vec(&manifest)?),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        outer.append_data(&mut header, path, content.as_slice())?;
    }
    outer.into_inner()?.sync_all()
}

/// This machine's architecture as images name it (that is, as Go does).
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_archive_has_the_program_and_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let archive = write("a.example/sh:1", Path::new("/bin/sh"), folder.path().join("image.tar")).unwrap();
        let mut parts = std::collections::BTreeMap::new();
        for entry in tar::Archive::new(std::fs::File::open(archive).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            parts.insert(entry.path().unwrap().to_string_lossy().into_owned(), content);
        }
        let config: serde_json::Value = serde_json::from_slice(&parts["config.json"]).unwrap();
        let digest: String = Sha256::digest(&parts["layer.tar"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{digest}")]));
        let mut layer = tar::Archive::new(parts["layer.tar"].as_slice());
        let mut program = layer.entries().unwrap().next().unwrap().unwrap();
        let mut content = Vec::new();
        program.read_to_end(&mut content).unwrap();
        assert_eq!(content, std::fs::read("/bin/sh").unwrap());
        assert_eq!(program.header().mode().unwrap() & 0o111, 0o111);
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = write("a.example/x:1", Path::new("/no/such"), folder.path().join("image.tar")).unwrap_err();
        assert!(error.to_string().contains("a.example/x:1"), "{error}");
    }
}
