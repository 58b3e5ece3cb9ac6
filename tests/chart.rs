//! `crds/` is the one truth; the chart carries copies, because Helm packages
//! only what lies in the chart's folder (and symlinks do not survive every way
//! a chart is fetched).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect()
}

#[test]
fn the_chart_carries_exactly_the_crds_of_the_repository() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (truth, copies) = (root.join("crds"), root.join("charts/werkbank/files/crds"));
    let expected = files(&truth);
    assert!(!expected.is_empty(), "crds/ is empty: run `make generated`");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&copies).unwrap();
        for stale in files(&copies)
            .keys()
            .filter(|name| !expected.contains_key(*name))
        {
            std::fs::remove_file(copies.join(stale)).unwrap();
        }
        for (name, content) in &expected {
            std::fs::write(copies.join(name), content).unwrap();
        }
    }
    let shipped = files(&copies);
    assert!(
        shipped.keys().eq(expected.keys()),
        "the chart ships {:?}, crds/ holds {:?}: run `make generated`",
        shipped.keys(),
        expected.keys()
    );
    for (name, content) in &expected {
        assert!(
            shipped.get(name) == Some(content),
            "charts/werkbank/files/crds/{name} differs from crds/{name}: run `make generated`"
        );
    }
}
