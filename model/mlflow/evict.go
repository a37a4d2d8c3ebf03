package mlflow

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
)

// evict removes snapshots, the longest unused first, until the cache is within
// its quota. What is in use is locked, and stays.
func (c *Cache) evict() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quota <= 0 {
		return
	}
	dirs, err := os.ReadDir(filepath.Join(c.dir, "snapshots"))
	if err != nil {
		return // the next Get tries again
	}
	used := func(d os.DirEntry) time.Time {
		if info, err := d.Info(); err == nil {
			return info.ModTime()
		}
		return time.Time{}
	}
	slices.SortFunc(dirs, func(a, b os.DirEntry) int { return used(a).Compare(used(b)) })
	for _, d := range dirs {
		if c.size() <= c.quota {
			return
		}
		c.remove(d.Name())
	}
}

func (c *Cache) remove(identity string) {
	lock := flock.New(filepath.Join(c.dir, "locks", identity))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return
	}
	defer lock.Unlock() //nolint:errcheck // nothing depends on it
	snap := filepath.Join(c.dir, "snapshots", identity)
	text, err := os.ReadFile(filepath.Join(snap, "manifest.json")) //nolint:gosec // a path of our own
	if os.RemoveAll(snap) != nil || err != nil {
		return
	}
	var m manifest
	_ = json.Unmarshal(text, &m) // a damaged manifest names no blobs
	for _, f := range m.Files {
		// A snapshot's link keeps the content of a blob that another shares.
		_ = os.Remove(filepath.Join(c.dir, "blobs", f.SHA256))
	}
}

// size adds up the snapshots' files. Contents that are shared count each time.
func (c *Cache) size() int64 {
	var n int64
	_ = filepath.WalkDir(filepath.Join(c.dir, "snapshots"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// leftAfter is how old an unfinished download is that a crash must have left.
const leftAfter = 24 * time.Hour

// sweep removes what crashes have left, and snapshots put aside long ago.
func sweep(tmp string) {
	left, err := os.ReadDir(tmp)
	if err != nil {
		return // the next start tries again
	}
	for _, d := range left {
		if info, err := d.Info(); err == nil && time.Since(info.ModTime()) > leftAfter {
			_ = os.RemoveAll(filepath.Join(tmp, d.Name()))
		}
	}
}
