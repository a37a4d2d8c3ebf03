package mlflow

import (
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"
)

// evict removes snapshots, the longest unused first, until the cache has room
// for so many bytes more, on its disk as well. What is in use is locked, and
// stays, even beyond the quota: a new version is loaded beside the one that
// serves.
func (c *Cache) evict(more int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.crowded(more) {
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
		if c.remove(d.Name()); !c.crowded(more) {
			return
		}
	}
}

// crowded says that the quota or the disk lacks room for so many bytes.
func (c *Cache) crowded(more int64) bool {
	if c.quota > 0 && c.size()+more > c.quota {
		return true
	}
	free, known := freeSpace(c.dir)
	return known && more > free
}

// remove takes a snapshot out in one step, so that a crash leaves it whole or
// gone, and then the contents that no other has.
func (c *Cache) remove(identity string) {
	lock := flock.New(filepath.Join(c.dir, "locks", identity))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return
	}
	defer lock.Unlock() //nolint:errcheck // nothing depends on it
	aside, err := os.MkdirTemp(filepath.Join(c.dir, "tmp"), "evicted-")
	if err != nil {
		return
	}
	if os.Rename(filepath.Join(c.dir, "snapshots", identity), filepath.Join(aside, "snapshot")) == nil {
		_ = os.RemoveAll(aside) // what stays is swept later
	} else {
		_ = os.Remove(aside) // as above
	}
	c.sweepBlobs()
}

// size adds up the cache's files, contents that are shared once.
func (c *Cache) size() int64 {
	var n int64
	seen := make(map[any]bool)
	for _, sub := range []string{"snapshots", "blobs"} {
		_ = filepath.WalkDir(filepath.Join(c.dir, sub), func(_ string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // it may be gone meanwhile
			}
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			if id, links := identify(info); links > 1 {
				if seen[id] {
					return nil
				}
				seen[id] = true
			}
			n += info.Size()
			return nil
		})
	}
	return n
}

const (
	// leftAfter is how old something is that no process can be at work on.
	leftAfter = 24 * time.Hour
	// begunAfter is the time that a process may need from making its folder to
	// locking it.
	begunAfter = time.Minute
)

// sweep removes what crashes have left: folders whose process is gone, which
// the lock tells; snapshots that were put aside long ago; and contents that no
// snapshot has.
func (c *Cache) sweep() {
	tmp := filepath.Join(c.dir, "tmp")
	left, err := os.ReadDir(tmp)
	if err != nil {
		return // the next start tries again
	}
	for _, d := range left {
		info, err := d.Info()
		if err != nil {
			continue
		}
		if path := filepath.Join(tmp, d.Name()); abandoned(path, info) {
			_ = os.RemoveAll(path) // the next start tries again
		}
	}
	c.sweepBlobs()
}

// abandoned says that something temporary has lost its process.
func abandoned(path string, info os.FileInfo) bool {
	age := time.Since(info.ModTime())
	name := filepath.Join(path, lockName)
	if _, err := os.Stat(name); err != nil {
		// No lock: one that is evicted or put aside, or is just being made.
		return age > leftAfter
	}
	if age < begunAfter {
		return false
	}
	lock := flock.New(name)
	ok, err := lock.TryLock()
	if !ok || err != nil {
		return false
	}
	return lock.Unlock() == nil
}

// sweepBlobs removes the contents that no snapshot links to.
func (c *Cache) sweepBlobs() {
	dir := filepath.Join(c.dir, "blobs")
	blobs, err := os.ReadDir(dir)
	if err != nil {
		return // the next time tries again
	}
	for _, d := range blobs {
		info, err := d.Info()
		if err != nil {
			continue
		}
		if _, links := identify(info); links == 1 {
			_ = os.Remove(filepath.Join(dir, d.Name())) // as above
		}
	}
}
