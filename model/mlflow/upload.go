package mlflow

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
)

// putFolder uploads a model's folder to an artifact URI, some files at a time.
func (c *Client) putFolder(ctx context.Context, r Registration, uri string) error {
	files, total, err := folderFiles(r.Folder)
	if err != nil {
		return err
	}
	to, err := c.openBucket(ctx, uri)
	if err != nil {
		return err
	}
	defer to.Close() // each Put says how it went
	m := c.newMeter("uploaded", r.Name, total, len(files), r.Progress)
	defer m.start()()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.cfg.Parallel))
	for _, f := range files {
		g.Go(func() error {
			if err := putFile(ctx, to, r.Folder, f, m); err != nil {
				return fmt.Errorf("upload %s: %w", f.Path, err)
			}
			m.files.Add(1)
			return nil
		})
	}
	return g.Wait()
}

// folderFiles lists a folder of regular files.
func folderFiles(dir string) (files []File, total int64, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", p)
		}
		rel, err := filepath.Rel(dir, p)
		files = append(files, File{Path: filepath.ToSlash(rel), Size: info.Size()})
		total += info.Size()
		return err
	})
	return files, total, err
}

func putFile(ctx context.Context, to Bucket, dir string, f File, m *meter) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	file, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Path))) //nolint:gosec // walked from the user's folder
	if err != nil {
		return err
	}
	defer file.Close()
	return to.Put(ctx, f.Path, f.Size, &counted{file: file, m: m})
}

// counted counts what is read of a file that is uploaded, once however often it
// is begun again.
type counted struct {
	file *os.File
	m    *meter
	at   int64
	most int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	if c.at += int64(n); c.at > c.most {
		c.m.add(c.at - c.most)
		c.most = c.at
	}
	return n, err
}

func (c *counted) Seek(offset int64, whence int) (int64, error) {
	at, err := c.file.Seek(offset, whence)
	c.at = at
	return at, err
}

// sending is a file as the body of one request. Closed, it leaves the file to
// the next.
type sending struct {
	mu     sync.Mutex
	from   io.Reader
	closed bool // guarded by mu, as is reading
}

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, os.ErrClosed
	}
	return s.from.Read(p)
}

func (s *sending) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
