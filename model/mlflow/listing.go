package mlflow

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// Bounds of what a model folder may hold.
const (
	maxFiles = 10_000
	maxDepth = 32
)

// entry is a line of the server's listings.
type entry struct {
	Path  string `json:"path"`
	IsDir bool   `json:"is_dir"`
	Size  *Int   `json:"file_size"`
}

// walk lists the files below a folder by listing folder after folder. The
// paths that list gives are relative to the folder it was asked for, which is a
// base name each.
func walk(ctx context.Context, list func(ctx context.Context, dir string) ([]entry, error), limit int) ([]File, error) {
	var all []File
	folders := 0
	var visit func(dir string, depth int) error
	visit = func(dir string, depth int) error {
		entries, err := list(ctx, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Path == "" || e.Path == "." || strings.Contains(e.Path, "/") || checkPath(e.Path) != nil {
				return fmt.Errorf("%w: the server lists %q", ErrArtifact, e.Path)
			}
			p := path.Join(dir, e.Path)
			if !e.IsDir {
				f := File{Path: p, Size: -1}
				if e.Size != nil {
					f.Size = int64(*e.Size)
				}
				all = append(all, f)
			} else {
				folders++
			}
			if depth >= maxDepth || len(all) > limit || folders > limit {
				return tooMany(limit)
			}
			if e.IsDir {
				if err := visit(p, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return all, visit("", 0)
}

func tooMany(limit int) error {
	return fmt.Errorf("%w: more than %d files or folders, or %d levels of them", ErrArtifact, limit, maxDepth)
}

// checkListing holds a listing against what a model folder may be, and returns
// how many bytes it has at the least.
func (c *Client) checkListing(files []File) (total int64, err error) {
	if len(files) == 0 { // a missing path lists as an empty one
		return 0, fmt.Errorf("%w: there are no files", ErrNotFound)
	}
	if len(files) > maxFiles {
		return 0, tooMany(maxFiles)
	}
	names := make(map[string]bool, len(files)) // true: a file
	for _, f := range files {
		if err := checkPath(f.Path); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrArtifact, err)
		}
		if f.Path != path.Clean(f.Path) || strings.Count(f.Path, "/") > maxDepth || f.Size < -1 {
			return 0, fmt.Errorf("%w: the store lists %q of %d bytes", ErrArtifact, f.Path, f.Size)
		}
		if _, twice := names[f.Path]; twice {
			return 0, fmt.Errorf("%w: %q is listed twice, or as a file and a folder", ErrArtifact, f.Path)
		}
		names[f.Path] = true
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			if names[dir] {
				return 0, fmt.Errorf("%w: %q is listed as a file and a folder", ErrArtifact, dir)
			}
			names[dir] = false
		}
		if total += max(0, f.Size); total < 0 {
			return 0, fmt.Errorf("%w: sizes beyond any disk", ErrArtifact)
		}
	}
	return total, c.checkSize(total)
}

// checkSize holds a model's bytes against MILLRACE_MODEL_MAX_BYTES.
func (c *Client) checkSize(n int64) error {
	if c.cfg.MaxBytes > 0 && n > c.cfg.MaxBytes {
		return fmt.Errorf("%w: %d bytes and more, and MILLRACE_MODEL_MAX_BYTES is %d", ErrTooLarge, n, c.cfg.MaxBytes)
	}
	return nil
}
