// Command tlog-verify judges an audit log by programs that others wrote: Go's sumdb/note and tlog, and Tessera's fsck.
//
// It takes the folder of a log and the log's public key, says of each of the two what it finds, and exits with 1 if either
// refuses the log. Tessera is used as a library: the exit status of its own command is 0 even for a log that it
// refuses.
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog-verify <folder> <public key>")
		os.Exit(2)
	}
	folder, key := os.Args[1], os.Args[2]
	verifier, err := note.NewVerifier(key)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tlog-verify:", err)
		os.Exit(2)
	}
	refused := false
	for _, judge := range []struct {
		name string
		does func(string, note.Verifier) error
	}{{"sumdb", sumdb}, {"tessera", tessera}} {
		if err := judge.does(folder, verifier); err != nil {
			refused = true
			fmt.Printf("%s refuses: %v\n", judge.name, err)
		} else {
			fmt.Printf("%s accepts\n", judge.name)
		}
	}
	if refused {
		os.Exit(1)
	}
}

// sumdb opens the checkpoint with sumdb/note, and has tlog check each entry against its root, and each tile on the way.
func sumdb(folder string, verifier note.Verifier) error {
	raw, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	signed, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(signed.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return errors.New("the checkpoint is of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	var root tlog.Hash
	decoded, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || copy(root[:], decoded) != len(root) {
		return errors.New("the checkpoint has no root")
	}
	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, tiles(folder))
	for first := int64(0); first < size; first += 256 {
		width := min(size-first, 256)
		entries, err := bundle(folder, first/256, int(width))
		if err != nil {
			return err
		}
		indexes := make([]int64, width)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		hashes, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != hashes[i] {
				return fmt.Errorf("entry %d is not what the tree holds", first+int64(i))
			}
		}
	}
	return proofs(size, root, reader)
}

// proofs has tlog make and check a proof of inclusion of the first, the middle and the last entry.
func proofs(size int64, root tlog.Hash, reader tlog.HashReader) error {
	for _, at := range []int64{0, size / 2, size - 1} {
		proof, err := tlog.ProveRecord(size, at, reader)
		if err != nil {
			return err
		}
		hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, at)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, root, at, hashes[0]); err != nil {
			return err
		}
	}
	return nil
}

// tiles reads the log's tiles of hashes, whose paths leave out the height that tlog's have.
type tiles string

func (folder tiles) Height() int { return 8 }

func (folder tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (folder tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		read, err := os.ReadFile(filepath.Join(string(folder), path))
		if err != nil {
			return nil, err
		}
		all = append(all, read)
	}
	return all, nil
}

func bundle(folder string, index int64, width int) ([][]byte, error) {
	path := tlog.Tile{H: 8, L: -1, N: index, W: width}.Path()
	path = strings.Replace(path, "tile/8/data/", "tile/entries/", 1)
	read, err := os.ReadFile(filepath.Join(folder, path))
	if err != nil {
		return nil, err
	}
	entries, err := split(read)
	if err == nil && len(entries) != width {
		err = fmt.Errorf("%s holds %d entries", path, len(entries))
	}
	return entries, err
}

// split cuts a bundle into its entries, each of which follows its length.
func split(read []byte) ([][]byte, error) {
	var entries [][]byte
	for rest := bytes.NewReader(read); rest.Len() > 0; {
		var length uint16
		if err := binary.Read(rest, binary.BigEndian, &length); err != nil {
			return nil, err
		}
		if int(length) > rest.Len() {
			return nil, errors.New("a bundle ends within an entry")
		}
		entry := make([]byte, length)
		rest.Read(entry)
		entries = append(entries, entry)
	}
	return entries, nil
}

// tessera has Tessera's fsck make all tiles again from the entries, and compare.
func tessera(folder string, verifier note.Verifier) error {
	hashes := func(read []byte) ([][]byte, error) {
		entries, err := split(read)
		for i, entry := range entries {
			entries[i] = rfc6962.DefaultHasher.HashLeaf(entry)
		}
		return entries, err
	}
	check := fsck.New(verifier.Name(), verifier, client.FileFetcher{Root: folder}, hashes, fsck.Opts{N: 2})
	return check.Check(context.Background())
}
