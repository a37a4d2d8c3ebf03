package mlflow

import (
	"context"
	"crypto/md5" //nolint:gosec // what object stores give; against accidents, not attacks
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/gofrs/flock"
)

// Filler takes the files of a snapshot that is being fetched.
type Filler struct {
	cache *Cache
	tmp   string // its folder below tmp/

	mu    sync.Mutex
	files map[string]manifestFile // guarded by mu, as are the rest
	bytes int64                   // written so far
	room  int64                   // bytes that it may have, negative for no bound
}

// fill writes a snapshot under a temporary name and renames it, so that a
// crash at any point leaves none or the whole.
func (c *Cache) fill(ctx context.Context, snap string, fetch FetchFunc) (err error) {
	tmp, err := os.MkdirTemp(filepath.Join(c.dir, "tmp"), "snapshot-")
	if err != nil {
		return err
	}
	alive := flock.New(filepath.Join(tmp, lockName))
	if _, err := alive.TryLock(); err != nil {
		return errors.Join(fmt.Errorf("lock: %w", err), os.RemoveAll(tmp))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp), alive.Unlock()) }()
	f := &Filler{cache: c, tmp: tmp, files: make(map[string]manifestFile), room: -1}
	if err := f.Expect(0); err != nil { // bounds what tells no size
		return err
	}
	if err := fetch(ctx, f); err != nil {
		return err
	}
	made := filepath.Join(tmp, "snapshot")
	if err := f.write(made); err != nil {
		return err
	}
	if err := os.Rename(made, snap); err != nil {
		return err
	}
	return syncDir(filepath.Dir(snap))
}

// lockName is the file of a temporary folder that its process holds locked.
const lockName = "lock"

// Expect makes room for so many bytes, by removing what was not used for
// longest. It fails with [ErrTooLarge] when the quota or the disk has less.
func (f *Filler) Expect(total int64) error {
	c := f.cache
	if c.quota > 0 && total > c.quota {
		return fmt.Errorf("%w: it has %d bytes, and the cache's quota (MILLRACE_MODEL_CACHE_QUOTA) is %d", ErrTooLarge, total, c.quota)
	}
	c.evict(total)
	free, known := freeSpace(c.dir)
	if known && total > free {
		return fmt.Errorf("%w: it has %d bytes, and the disk of the cache (MILLRACE_MODEL_CACHE_DIR) has %d free", ErrTooLarge, total, free)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case c.quota > 0 && known:
		f.room = min(c.quota, free)
	case c.quota > 0:
		f.room = c.quota
	case known:
		f.room = free
	}
	return nil
}

// take counts bytes that are about to be written.
func (f *Filler) take(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bytes += n; f.room >= 0 && f.bytes > f.room {
		return fmt.Errorf("%w: it has more than the %d bytes that the cache's quota (MILLRACE_MODEL_CACHE_QUOTA) or disk leaves", ErrTooLarge, f.room)
	}
	return nil
}

// Add takes one file, whose content write writes. It may be called
// concurrently; a file that is added again replaces the one before.
func (f *Filler) Add(file File, write func(*Writer) error) error {
	if err := checkPath(file.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrArtifact, err)
	}
	tmp, err := os.CreateTemp(f.tmp, "blob-")
	if err != nil {
		return err
	}
	defer func() {
		_ = tmp.Close() // closed below when all went well
		_ = os.Remove(tmp.Name())
	}()
	w := &Writer{f: f, file: tmp, sha: sha256.New(), md5: md5.New()} //nolint:gosec // see the import
	if err := write(w); err != nil {
		_ = f.take(-w.n) // what fails is the write
		return err
	}
	if file.Size >= 0 && w.n != file.Size {
		return fmt.Errorf("%s: %w: %d bytes instead of %d", file.Path, ErrArtifact, w.n, file.Size)
	}
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	entry := manifestFile{Path: file.Path, Size: w.n, SHA256: hex.EncodeToString(w.sha.Sum(nil))}
	if err := f.link(tmp.Name(), entry); err != nil {
		return err
	}
	f.mu.Lock()
	f.files[file.Path] = entry
	f.mu.Unlock()
	return nil
}

// link keeps a content as a blob, the one that is there when it is whole, and
// links it into the snapshot.
func (f *Filler) link(tmp string, e manifestFile) error {
	to := filepath.Join(f.tmp, "snapshot", "files", filepath.FromSlash(e.Path))
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	blob := filepath.Join(f.cache.dir, "blobs", e.SHA256)
	if sum, err := sumFile(blob); err == nil && sum == e.SHA256 && os.Link(blob, to) == nil {
		return nil
	}
	// Linked before it is renamed: a blob that nothing links to is swept.
	if os.Link(tmp, to) == nil {
		return os.Rename(tmp, blob)
	}
	return os.Rename(tmp, to) // not every file system links
}

// write writes the manifest.
func (f *Filler) write(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var m manifest
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		m.Files = append(m.Files, f.files[name])
	}
	if len(m.Files) == 0 {
		return fmt.Errorf("%w: there are no files", ErrNotFound)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeSynced(filepath.Join(dir, "manifest.json"), text)
}

// Writer takes the content of one file.
type Writer struct {
	f    *Filler
	file *os.File
	sha  hash.Hash
	md5  hash.Hash
	n    int64
}

// Write adds to the content. It fails with [ErrTooLarge] when the cache has no
// room for it.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.f.take(int64(len(p))); err != nil {
		_ = w.f.take(-int64(len(p))) // what fails is the write
		return 0, err
	}
	n, err := w.file.Write(p)
	w.n += int64(n)
	_, _ = w.sha.Write(p[:n]) // a hash never fails
	_, _ = w.md5.Write(p[:n]) // as above
	return n, err
}

// Len is how many bytes were written.
func (w *Writer) Len() int64 { return w.n }

// MD5 is that of what was written, hex.
func (w *Writer) MD5() string { return hex.EncodeToString(w.md5.Sum(nil)) }

// Restart forgets what was written.
func (w *Writer) Restart() error {
	if _, err := w.file.Seek(0, 0); err != nil {
		return err
	}
	if err := w.file.Truncate(0); err != nil {
		return err
	}
	_ = w.f.take(-w.n) // it only gives back
	w.n = 0
	w.sha.Reset()
	w.md5.Reset()
	return nil
}
