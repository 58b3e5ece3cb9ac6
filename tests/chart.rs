//! `crds/` is the one truth; the chart carries copies, because Helm packages
//! only what lies in the chart's folder (and symlinks do not survive every way
//! a chart is fetched).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if folder.exists() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name(), std::fs::read(entry.path())?);
        }
    }
    Ok(files)
}

#[test]
fn the_chart_carries_exactly_the_crds_of_the_repository() -> io::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let copies = root.join("charts/werkbank/files/crds");
    let expected = files(&root.join("crds"))?;
    assert!(!expected.is_empty(), "crds/ is empty: run `make crds`");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&copies)?;
        for stale in files(&copies)?.keys().filter(|name| !expected.contains_key(*name)) {
            std::fs::remove_file(copies.join(stale))?;
        }
        for (name, content) in &expected {
            std::fs::write(copies.join(name), content)?;
        }
    }
    let shipped = files(&copies)?;
    assert!(
        shipped.keys().eq(expected.keys()),
        "the chart ships {:?}, crds/ holds {:?}: run `make crds`",
        shipped.keys(),
        expected.keys()
    );
    for (name, content) in &expected {
        assert!(
            shipped.get(name) == Some(content),
            "charts/werkbank/files/crds/{name:?} differs from crds/{name:?}: run `make crds`"
        );
    }
    Ok(())
}
