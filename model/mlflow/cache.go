package mlflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// errQuarantined marks a snapshot whose files changed after they were written.
var errQuarantined = errors.New("cached files are not what was downloaded")

// Cache keeps model folders on disk, each hashed when it is written and again
// when it is opened. Processes may share one.
//
//	blobs/sha256      contents, shared by snapshots through hard links
//	snapshots/id/     files/ and manifest.json
//	locks/id          held shared while a snapshot is used, exclusive while it changes
//	refs/…            what references named when the registry last said so
//	tmp/…/            what is being written, with a lock that ends with its process
type Cache struct {
	dir   string
	quota int64 // bytes, 0 for no bound
	mu    sync.Mutex
}

// NewCache opens a cache below dir. quota bounds its bytes; 0 does not.
func NewCache(dir string, quota int64) (*Cache, error) {
	c := &Cache{dir: dir, quota: quota}
	for _, sub := range []string{"blobs", "snapshots", "locks", "refs", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, unwritable(err)
		}
	}
	probe, err := os.CreateTemp(filepath.Join(dir, "tmp"), "probe-")
	if err != nil {
		return nil, unwritable(err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return nil, unwritable(err)
	}
	c.sweep()
	return c, nil
}

func unwritable(err error) error {
	return fmt.Errorf("model cache: %w: models are kept in a folder that this process may write; name another, or mount a volume there", err)
}

// FetchFunc adds every file of a model to a snapshot.
type FetchFunc func(ctx context.Context, into *Filler) error

type manifest struct {
	Files []manifestFile `json:"files"`
}

type manifestFile struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Get returns the folder of an identity, fetched when it is not there or no
// longer what was downloaded. Until release it is not evicted.
func (c *Cache) Get(ctx context.Context, identity string, fetch FetchFunc) (dir string, release func(), err error) {
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`).MatchString(identity) {
		return "", nil, fmt.Errorf("model cache: identity %q is no name of a file", identity)
	}
	snap := filepath.Join(c.dir, "snapshots", identity)
	for ctx.Err() == nil {
		release, err := c.use(ctx, snap, identity)
		if err == nil {
			c.evict(0)
			return filepath.Join(snap, "files"), release, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errQuarantined) {
			return "", nil, fmt.Errorf("model cache: %w", err)
		}
		if err := c.renew(ctx, snap, identity, fetch); err != nil {
			return "", nil, fmt.Errorf("model cache: %w", err)
		}
	}
	return "", nil, fmt.Errorf("model cache: %w", context.Cause(ctx))
}

// use takes the shared lock, under which others may use the snapshot and none
// may change it, and keeps it when the snapshot is whole.
func (c *Cache) use(ctx context.Context, snap, identity string) (release func(), err error) {
	lock := flock.New(filepath.Join(c.dir, "locks", identity))
	if _, err := lock.TryRLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := verify(snap); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	now := time.Now()
	_ = os.Chtimes(snap, now, now) // the order of eviction; no harm when it cannot be kept
	var once sync.Once
	return func() { once.Do(func() { _ = lock.Unlock() }) }, nil
}

// renew writes the snapshot under the exclusive lock, unless another process
// did while this one waited.
func (c *Cache) renew(ctx context.Context, snap, identity string, fetch FetchFunc) (err error) {
	lock := flock.New(filepath.Join(c.dir, "locks", identity))
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	why := verify(snap)
	if why == nil {
		return nil
	}
	if err := c.discard(snap, identity, why); err != nil {
		return err
	}
	return c.fill(ctx, snap, fetch)
}

// discard puts aside a snapshot that is damaged.
func (c *Cache) discard(snap, identity string, why error) error {
	if errors.Is(why, os.ErrNotExist) {
		return os.RemoveAll(snap) // what an older eviction did not finish
	}
	if errors.Is(why, errQuarantined) {
		aside := filepath.Join(c.dir, "tmp", "quarantine-"+identity)
		return errors.Join(os.RemoveAll(aside), os.Rename(snap, aside))
	}
	return why
}

// verify hashes a snapshot's files again.
func verify(snap string) error {
	text, err := os.ReadFile(filepath.Join(snap, "manifest.json")) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return errors.Join(errQuarantined, err)
	}
	if len(m.Files) == 0 {
		return fmt.Errorf("no files: %w", errQuarantined)
	}
	for _, f := range m.Files {
		if checkPath(f.Path) != nil {
			return fmt.Errorf("%s: %w", f.Path, errQuarantined)
		}
		sum, err := sumFile(filepath.Join(snap, "files", filepath.FromSlash(f.Path)))
		if err != nil || sum != f.SHA256 {
			return fmt.Errorf("%s: %w", f.Path, errQuarantined)
		}
	}
	return nil
}

func sumFile(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // a path of our own
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
