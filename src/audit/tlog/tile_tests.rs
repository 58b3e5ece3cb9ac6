use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::merkle::{Frontier, leaf};
use super::*;

fn named(path: &str) -> Option<Tile> {
    path.parse().ok()
}

#[test]
fn the_names_that_the_specification_gives_as_examples() {
    let tile = Tile { content: Content::Entries, index: 1_234_067, width: FULL };
    assert_eq!(tile.to_string(), "tile/entries/x001/x234/067");
    let names: Vec<String> = Tile::all(70_000).iter().filter(|it| !it.is_full()).map(ToString::to_string).collect();
    // 70,000 entries: 273 tiles and 112 entries; one tile of tiles and 17.
    assert_eq!(names, ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
}

#[test]
fn a_name_written_in_another_way_is_none() {
    for path in [
        "tile/0/67",
        "tile/0/x000/067",
        "tile/0/067.p/256",
        "tile/0/067.p/0",
        "tile/00/067",
        "tile/0/067.p/07",
        "tile/0/",
    ] {
        assert_eq!(named(path), None, "{path}");
    }
    assert!(named("tile/0/067.p/255").is_some());
}

#[test]
fn what_has_another_length_than_its_name_says_is_no_tile() {
    let tile = Tile { content: Content::Hashes(0), index: 0, width: 2 };
    assert!(hashes(tile, &[0; 64]).is_ok());
    for bytes in [0, 32, 63, 65, 96] {
        assert_eq!(hashes(tile, &vec![0; bytes]), Err(Malformed::Hashes { is: bytes, due: 2 }));
    }
    let tile = Tile { content: Content::Entries, ..tile };
    for bytes in [&[0, 1, b'a', 0, 2, b'b'][..], &[0, 1, b'a'], &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0]] {
        assert_eq!(entries(tile, bytes), Err(Malformed::Entries { due: 2 }));
    }
    assert_eq!(entries(tile, &[0, 1, b'a', 0, 0]), Ok(vec![&b"a"[..], b""]));
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let mut bytes = Vec::new();
    assert_eq!(bundle(&vec![b'x'; 65_536], &mut bytes), Err(TooLong(65_536)));
    assert!(bytes.is_empty() && bundle(&vec![b'x'; 65_535], &mut bytes).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_name_leads_back_to_its_tile(level in 0_u8..8, index in 0_u64..3_000_000_000, width in 1_u16..=256) {
        for content in [Content::Hashes(level), Content::Entries] {
            let tile = Tile { content, index, width };
            prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        }
    }

    #[test]
    fn what_a_growing_log_adds_is_together_what_it_has(sizes in prop::collection::vec(0_u64..700, 1..6)) {
        let mut wider: BTreeMap<(Content, u64), u16> = BTreeMap::new();
        let mut size = 0;
        for more in sizes {
            for tile in Tile::added(size, size + more) {
                wider.insert((tile.content, tile.index), tile.width);
            }
            size += more;
        }
        let all = Tile::all(size).into_iter().map(|it| ((it.content, it.index), it.width)).collect();
        prop_assert_eq!(wider, all);
    }

    #[test]
    fn each_subtree_is_found_in_the_tile_that_is_said_to_hold_it(size in 1_u64..700) {
        let (mut tree, mut nodes) = (Frontier::default(), BTreeMap::new());
        for index in 0..size {
            tree.push(leaf(&index.to_be_bytes()), |node, hash| {
            nodes.insert(node, hash);
        });
        }
        for (node, hash) in &nodes {
            let tile = Tile::of_node(*node, size);
            let Content::Hashes(level) = tile.content else { panic!("hashes are in no bundle") };
            let row: Vec<TreeHash> = (tile.first()..tile.first() + u64::from(tile.width))
                .map(|index| nodes[&Node { level: level * 8, index }])
                .collect();
            prop_assert_eq!(of_node(*node, &row), Some(*hash));
        }
    }
}
