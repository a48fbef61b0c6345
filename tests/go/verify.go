// Command verify checks an exported svcport ledger with code that svcport had no hand in:
// signed notes, Merkle trees and their proofs are those of golang.org/x/mod/sumdb.
//
//	verify EXPORT [-old OLD_EXPORT] [-proof FILE]... [-cosigned NOTE -witness VKEY]
//
// It prints one line a check and exits 1 at the first that fails.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height         = 8
	width          = 1 << height
	cosignatureAlg = 4
)

// checkpoint is the text of a C2SP tlog-checkpoint; tlog.ParseTree reads only that of go.sum.
type checkpoint struct {
	origin string
	tree   tlog.Tree
}

func parseCheckpoint(text string) (c checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return c, fmt.Errorf("checkpoint has %d lines, wanted 3", len(lines)-1)
	}
	c.origin = lines[0]
	if c.tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil || c.tree.N < 0 {
		return c, fmt.Errorf("size %q", lines[1])
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return c, fmt.Errorf("root %q", lines[2])
	}
	copy(c.tree.Hash[:], root)
	return c, nil
}

func openCheckpoint(signed []byte, keys ...note.Verifier) (c checkpoint, n *note.Note, err error) {
	if n, err = note.Open(signed, note.VerifierList(keys...)); err != nil {
		return c, nil, err
	}
	if c, err = parseCheckpoint(n.Text); err != nil {
		return c, nil, err
	}
	return c, n, nil
}

// log is one export folder: a tlog.TileReader with the paths of C2SP tlog-tiles.
type log struct {
	dir  string
	head checkpoint
}

func openLog(dir string) (*log, note.Verifier, error) {
	text, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		return nil, nil, err
	}
	key, err := note.NewVerifier(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return nil, nil, err
	}
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return nil, nil, err
	}
	head, _, err := openCheckpoint(signed, key)
	if err != nil {
		return nil, nil, err
	}
	if head.origin != key.Name() {
		return nil, nil, fmt.Errorf("origin %s, key of %s", head.origin, key.Name())
	}
	return &log{dir, head}, key, nil
}

func tilePath(kind string, number int64, w int) string {
	groups := fmt.Sprintf("%03d", number%1000)
	for number >= 1000 {
		number /= 1000
		groups = fmt.Sprintf("x%03d/%s", number%1000, groups)
	}
	path := "tile/" + kind + "/" + groups
	if w != width {
		path += fmt.Sprintf(".p/%d", w)
	}
	return path
}

func (l *log) Height() int { return height }

func (l *log) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		path := tilePath(strconv.Itoa(tile.L), tile.N, tile.W)
		content, err := os.ReadFile(filepath.Join(l.dir, path))
		if err != nil && tile.W != width {
			// the tile may have grown since, up to what the checkpoint covers
			have := (l.head.tree.N >> uint(height*tile.L)) - tile.N*width
			if have > width {
				have = width
			}
			path = tilePath(strconv.Itoa(tile.L), tile.N, int(have))
			content, err = os.ReadFile(filepath.Join(l.dir, path))
		}
		if err != nil {
			return nil, err
		}
		if len(content) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s is short", path)
		}
		data = append(data, content[:tile.W*tlog.HashSize])
	}
	return data, nil
}

func (l *log) SaveTiles([]tlog.Tile, [][]byte) {}

// entries calls each with every entry in order.
func (l *log) entries(each func(index int64, data []byte) error) error {
	for first := int64(0); first < l.head.tree.N; first += width {
		w := l.head.tree.N - first
		if w > width {
			w = width
		}
		path := tilePath("entries", first/width, int(w))
		bundle, err := os.ReadFile(filepath.Join(l.dir, path))
		if err != nil {
			return err
		}
		for i := int64(0); i < w; i++ {
			if len(bundle) < 2 {
				return fmt.Errorf("%s ends before entry %d", path, first+i)
			}
			size := int(binary.BigEndian.Uint16(bundle))
			if len(bundle) < 2+size {
				return fmt.Errorf("%s ends inside entry %d", path, first+i)
			}
			if err := each(first+i, bundle[2:2+size]); err != nil {
				return err
			}
			bundle = bundle[2+size:]
		}
		if len(bundle) != 0 {
			return fmt.Errorf("%s has more than %d entries", path, w)
		}
	}
	return nil
}

// checkEntries builds the tree from the entries alone and compares it with the signed root.
func checkEntries(l *log) error {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	err := l.entries(func(index int64, data []byte) error {
		hashes, err := tlog.StoredHashes(index, data, reader)
		stored = append(stored, hashes...)
		return err
	})
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(l.head.tree.N, reader)
	if err != nil {
		return err
	}
	if root != l.head.tree.Hash {
		return errors.New("the entries have another root than the checkpoint")
	}
	return nil
}

// checkInclusion proves entries across the log from the tiles, which the reader verifies too.
func checkInclusion(l *log) (int, error) {
	leaves := map[int64]tlog.Hash{}
	step := l.head.tree.N/97 + 1
	err := l.entries(func(index int64, data []byte) error {
		if index%step == 0 || index == l.head.tree.N-1 {
			leaves[index] = tlog.RecordHash(data)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	reader := tlog.TileHashReader(l.head.tree, l)
	for index, leaf := range leaves {
		proof, err := tlog.ProveRecord(l.head.tree.N, index, reader)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, l.head.tree.N, l.head.tree.Hash, index, leaf); err != nil {
			return 0, fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return len(leaves), nil
}

func checkConsistency(l, old *log) error {
	if old.head.origin != l.head.origin {
		return fmt.Errorf("the old export is of %s", old.head.origin)
	}
	proof, err := tlog.ProveTree(l.head.tree.N, old.head.tree.N, tlog.TileHashReader(l.head.tree, l))
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, l.head.tree.N, l.head.tree.Hash, old.head.tree.N, old.head.tree.Hash)
}

// checkProof checks a C2SP tlog-proof whose extra line carries the entry.
func checkProof(path string, key note.Verifier) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, signed, found := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a tlog-proof")
	}
	if !strings.HasPrefix(lines[1], "extra ") || !strings.HasPrefix(lines[2], "index ") {
		return errors.New("no extra or no index line")
	}
	entry, err := base64.StdEncoding.DecodeString(lines[1][len("extra "):])
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(lines[2][len("index "):], 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	c, _, err := openCheckpoint([]byte(signed), key)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, c.tree.N, c.tree.Hash, index, tlog.RecordHash(entry))
}

// witness is a note.Verifier for C2SP cosignature/v1, which x/mod does not have.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (*witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed witness key")
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != cosignatureAlg {
		return nil, errors.New("not a cosignature/v1 key")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), raw...))
	hash := binary.BigEndian.Uint32(sum[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("the witness key has another hash")
	}
	return &witness{parts[0], hash, ed25519.PublicKey(raw[1:])}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }

func (w *witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func checkCosigned(path, vkey string, key note.Verifier) error {
	w, err := newWitness(vkey)
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, n, err := openCheckpoint(signed, key, w)
	if err != nil {
		return err
	}
	if len(n.Sigs) != 2 {
		return fmt.Errorf("%d of 2 signatures verified", len(n.Sigs))
	}
	return nil
}

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

func main() {
	var proofs list
	old := flag.String("old", "", "an older export of the same log")
	cosigned := flag.String("cosigned", "", "a checkpoint with a cosignature")
	vkey := flag.String("witness", "", "the witness's key")
	flag.Var(&proofs, "proof", "a tlog-proof; may be repeated")
	flag.Parse()
	must := func(what string, err error) {
		if err != nil {
			fmt.Printf("FAIL %s: %v\n", what, err)
			os.Exit(1)
		}
		fmt.Println("ok", what)
	}
	l, key, err := openLog(flag.Arg(0))
	must("checkpoint", err)
	must(fmt.Sprintf("entries %d", l.head.tree.N), checkEntries(l))
	count, err := checkInclusion(l)
	must(fmt.Sprintf("inclusion %d", count), err)
	if *old != "" {
		before, _, err := openLog(*old)
		must("old checkpoint", err)
		must(fmt.Sprintf("consistency %d", before.head.tree.N), checkConsistency(l, before))
	}
	for _, path := range proofs {
		must("proof "+filepath.Base(path), checkProof(path, key))
	}
	if *cosigned != "" {
		must("cosignature", checkCosigned(*cosigned, *vkey, key))
	}
}
