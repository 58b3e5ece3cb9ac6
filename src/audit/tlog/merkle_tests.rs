use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::text::hex::hex;

/// A tree, all of whose complete subtrees are remembered.
#[derive(Default)]
struct Kept {
    frontier: Frontier,
    nodes: BTreeMap<Node, TreeHash>,
    leaves: Vec<TreeHash>,
}

impl Kept {
    fn of(size: u64) -> Self {
        let mut kept = Self::default();
        for index in 0..size {
            let entry = leaf(&index.to_be_bytes());
            kept.leaves.push(entry);
            let nodes = &mut kept.nodes;
            kept.frontier.push(entry, |node, hash| {
                nodes.insert(node, hash);
            });
        }
        kept
    }

    fn get(&self) -> impl FnMut(Node) -> Result<TreeHash, Infallible> + '_ {
        |node| Ok(*self.nodes.get(&node).expect("only complete subtrees are asked for"))
    }
}

/// The definition of RFC 6962, 2.1, word by word.
fn defined(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => empty(),
        [one] => *one,
        more => {
            let mut k = 1;
            while k * 2 < more.len() {
                k *= 2;
            }
            parent(&defined(&more[..k]), &defined(&more[k..]))
        }
    }
}

#[test]
fn the_roots_of_the_tests_of_certificate_transparency() {
    // The inputs and roots that certificate-transparency's own tests have for RFC 6962.
    let inputs: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Frontier::default();
    assert_eq!(hex(&tree.root().0, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (input, root) in inputs.iter().zip(roots) {
        tree.push(leaf(input), |_, _| ());
        assert_eq!(hex(&tree.root().0, 32), root);
    }
}

#[test]
fn every_entry_of_every_small_tree_is_shown_to_be_in_it() {
    for size in 1..70 {
        let tree = Kept::of(size);
        assert_eq!(tree.frontier.root(), defined(&tree.leaves));
        for (index, entry) in (0_u64..).zip(&tree.leaves) {
            let Ok(proof) = inclusion(index, size, &mut tree.get());
            assert_eq!(root_of_inclusion(*entry, index, size, &proof), Some(tree.frontier.root()));
        }
    }
}

#[test]
fn every_small_tree_is_shown_to_begin_with_every_smaller_one() {
    for new in 0..40 {
        let tree = Kept::of(new);
        for old in 0..=new {
            let before = Kept::of(old).frontier.root();
            let Ok(proof) = consistency(old, new, &mut tree.get());
            assert!(is_consistent(old, before, new, tree.frontier.root(), &proof), "{old} of {new}");
        }
    }
}

#[test]
fn a_tree_goes_on_from_what_is_kept_of_it() {
    for size in 0..70 {
        let kept = Kept::of(size);
        let Ok(frontier) = Frontier::of(size, &mut kept.get());
        assert_eq!(frontier, kept.frontier);
    }
}

proptest! {
    #[test]
    fn nothing_else_is_shown_to_be_there(
        size in 1_u64..600, at in any::<prop::sample::Index>(), elsewhere in 0_u64..600, flip in any::<prop::sample::Index>(),
    ) {
        let tree = Kept::of(size);
        let (root, index) = (tree.frontier.root(), at.index(tree.leaves.len()) as u64);
        let entry = tree.leaves[index as usize];
        let Ok(proof) = inclusion(index, size, &mut tree.get());
        let shows = |entry, index, proof: &[TreeHash]| root_of_inclusion(entry, index, size, proof) == Some(root);
        prop_assert!(shows(entry, index, &proof));
        prop_assert!(!shows(leaf(b"another"), index, &proof));
        prop_assert!(elsewhere == index || !shows(entry, elsewhere, &proof));
        let longer: Vec<TreeHash> = proof.iter().copied().chain([root]).collect();
        prop_assert!(!shows(entry, index, &longer));
        if !proof.is_empty() {
            prop_assert!(!shows(entry, index, &proof[1..]));
            let mut flipped = proof.clone();
            flipped[flip.index(proof.len())].0[7] ^= 1;
            prop_assert!(!shows(entry, index, &flipped));
        }
    }

    #[test]
    fn a_rewritten_past_is_not_shown_to_be_the_same(
        old in 1_u64..300, more in 0_u64..300, flip in any::<prop::sample::Index>(),
    ) {
        let (new, tree) = (old + more, Kept::of(old + more));
        let (before, root) = (Kept::of(old).frontier.root(), tree.frontier.root());
        let Ok(proof) = consistency(old, new, &mut tree.get());
        prop_assert!(is_consistent(old, before, new, root, &proof));
        let mut another = before;
        another.0[3] ^= 4;
        prop_assert!(!is_consistent(old, another, new, root, &proof));
        let longer: Vec<TreeHash> = proof.iter().copied().chain([root]).collect();
        prop_assert!(!is_consistent(old, before, new, root, &longer));
        if !proof.is_empty() {
            prop_assert!(!is_consistent(old, before, new, root, &proof[1..]));
            let mut flipped = proof.clone();
            flipped[flip.index(proof.len())].0[7] ^= 1;
            prop_assert!(!is_consistent(old, before, new, root, &flipped));
        }
    }
}
