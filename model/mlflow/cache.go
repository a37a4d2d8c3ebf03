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

// Cache keeps model folders on disk, each hashed when it is written and again
// when it is opened. Processes may share one.
//
//	blobs/sha256      contents, shared by snapshots through hard links
//	snapshots/id/     files/ and manifest.json
//	locks/id          held shared while a snapshot is used, exclusive while it changes
//	tmp/              what is being written
type Cache struct {
	dir   string
	quota int64 // bytes, 0 for no bound
	mu    sync.Mutex
}

// NewCache opens a cache below dir. quota bounds its bytes; 0 does not.
func NewCache(dir string, quota int64) (*Cache, error) {
	for _, sub := range []string{"blobs", "snapshots", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return nil, fmt.Errorf("model cache: %w", err)
		}
	}
	sweep(filepath.Join(dir, "tmp"))
	return &Cache{dir: dir, quota: quota}, nil
}

// FetchFunc adds every file of a model: add calls write with the place to
// write the content to.
type FetchFunc func(ctx context.Context, add func(f File, write func(io.Writer) error) error) error

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
	for {
		release, err := c.use(ctx, snap, identity)
		if err == nil {
			c.evict()
			return filepath.Join(snap, "files"), release, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errQuarantined) {
			return "", nil, fmt.Errorf("model cache: %w", err)
		}
		if err := c.renew(ctx, snap, identity, fetch); err != nil {
			return "", nil, fmt.Errorf("model cache: %w", err)
		}
	}
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
		return os.RemoveAll(snap)
	}
	if errors.Is(why, errQuarantined) {
		aside := filepath.Join(c.dir, "tmp", "quarantine-"+identity)
		return errors.Join(os.RemoveAll(aside), os.Rename(snap, aside))
	}
	return why
}

// fill writes a snapshot under a temporary name and renames it, so that a
// crash at any point leaves none or the whole.
func (c *Cache) fill(ctx context.Context, snap string, fetch FetchFunc) (err error) {
	tmp, err := os.MkdirTemp(filepath.Join(c.dir, "tmp"), "snapshot-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	var m manifest
	err = fetch(ctx, func(f File, write func(io.Writer) error) error {
		if err := checkPath(f.Path); err != nil {
			return fmt.Errorf("%w: %w", ErrArtifact, err)
		}
		entry, err := c.add(filepath.Join(tmp, "files"), f, write)
		m.Files = append(m.Files, entry)
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, "manifest.json"), text); err != nil {
		return err
	}
	if err := os.Rename(tmp, snap); err != nil {
		return err
	}
	return syncDir(filepath.Dir(snap))
}

// add writes one file to a blob and links it into the snapshot.
func (c *Cache) add(root string, f File, write func(io.Writer) error) (e manifestFile, err error) {
	tmp, err := os.CreateTemp(filepath.Join(c.dir, "tmp"), "blob-")
	if err != nil {
		return e, err
	}
	defer func() {
		_ = tmp.Close() // closed above when all went well
		_ = os.Remove(tmp.Name())
	}()
	h := sha256.New()
	if err := write(io.MultiWriter(tmp, h)); err != nil {
		return e, err
	}
	if err := tmp.Sync(); err != nil {
		return e, err
	}
	st, err := tmp.Stat()
	if err != nil {
		return e, err
	}
	if f.Size >= 0 && st.Size() != f.Size {
		return e, fmt.Errorf("%s: %w: %d bytes instead of %d", f.Path, ErrArtifact, st.Size(), f.Size)
	}
	if err := tmp.Close(); err != nil {
		return e, err
	}
	e = manifestFile{Path: f.Path, Size: st.Size(), SHA256: hex.EncodeToString(h.Sum(nil))}
	blob := filepath.Join(c.dir, "blobs", e.SHA256)
	// A blob that is there may be damaged; the fresh one takes its place.
	if err := os.Rename(tmp.Name(), blob); err != nil {
		return e, err
	}
	to := filepath.Join(root, filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return e, err
	}
	if os.Link(blob, to) == nil {
		return e, nil
	}
	return e, copyFile(blob, to) // not every file system links
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
	for _, f := range m.Files {
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

func copyFile(from, to string) error {
	text, err := os.ReadFile(from) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	return writeSynced(to, text)
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
