package mlflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// Bounds of what a model folder may hold.
const (
	maxFiles = 10_000
	maxDepth = 32
)

// File is an artifact below a model's root.
type File struct {
	Path string // relative, with slashes
	Size int64  // -1 when the server does not tell
}

// store reads the artifacts below one root.
type store struct {
	c       *Client
	foreign bool
	base    string                                         // the proxy's address, up to artifacts/
	root    string                                         // path of the model in the proxy
	list    func(context.Context, string) ([]entry, error) // of a folder, paths relative to the model
}

type entry struct {
	Path  string `json:"path"`
	IsDir bool   `json:"is_dir"`
	Size  *Int   `json:"file_size"`
}

// open finds the proxy that serves an artifact URI.
func (c *Client) open(uri string) (*store, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: malformed artifact URI", ErrArtifact)
	}
	if c.base == nil {
		return nil, ErrNoRegistry
	}
	s := &store{c: c, root: strings.Trim(u.Path, "/"), base: c.url(nil, "api/2.0/mlflow-artifacts/artifacts")}
	const route = "/mlflow-artifacts/artifacts"
	switch {
	case u.Scheme == "mlflow-artifacts" && u.Host == "":
	case u.Scheme == "mlflow-artifacts":
		s.base = c.base.Scheme + "://" + u.Host + "/api/2.0" + route
		s.foreign = u.Host != c.base.Host
	case (u.Scheme == "http" || u.Scheme == "https") && strings.Contains(u.Path, route):
		prefix, rest, _ := strings.Cut(u.Path, route)
		s.base, s.root = u.Scheme+"://"+u.Host+prefix+route, strings.Trim(rest, "/")
		s.foreign = u.Host != c.base.Host || u.Scheme != c.base.Scheme
	default:
		return nil, fmt.Errorf("%w: no direct access to %s: yet; let the tracking server serve artifacts (--serve-artifacts)", ErrNoAccess, u.Scheme)
	}
	if s.root != "" {
		if err := checkPath(s.root); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrArtifact, err)
		}
	}
	s.list = s.listProxy
	return s, nil
}

// listProxy lists a folder. The proxy gives base names.
func (s *store) listProxy(ctx context.Context, dir string) ([]entry, error) {
	var out struct {
		Files []entry `json:"files"`
	}
	q := url.Values{"path": {path.Join(s.root, dir)}}
	err := s.c.json(ctx, call{method: http.MethodGet, url: s.base + "?" + q.Encode(), foreign: s.foreign, retry5: 2}, &out)
	return out.Files, err
}

// files lists all below the root.
func (s *store) files(ctx context.Context) ([]File, error) {
	var all []File
	if err := s.walk(ctx, "", 0, &all); err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	if len(all) == 0 { // a missing path lists as an empty one
		return nil, fmt.Errorf("list artifacts: %w: nothing at %s", ErrNotFound, s.root)
	}
	return all, nil
}

func (s *store) walk(ctx context.Context, dir string, depth int, all *[]File) error {
	entries, err := s.list(ctx, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(dir, e.Path)
		if e.Path == "" || strings.Contains(e.Path, "/") || checkPath(e.Path) != nil || checkPath(p) != nil {
			return fmt.Errorf("%w: the server lists %q", ErrArtifact, e.Path)
		}
		if depth >= maxDepth || len(*all) >= maxFiles {
			return fmt.Errorf("%w: too many files or folders", ErrArtifact)
		}
		if e.IsDir {
			if err := s.walk(ctx, p, depth+1, all); err != nil {
				return err
			}
			continue
		}
		f := File{Path: p, Size: -1}
		if e.Size != nil {
			f.Size = int64(*e.Size)
		}
		*all = append(*all, f)
	}
	return nil
}

// read copies a file to w, and fails when it is not as long as was listed. A
// chunked body that is cut short fails in the transport.
func (s *store) read(ctx context.Context, f File, w io.Writer) error {
	resp, err := s.c.do(ctx, call{method: http.MethodGet, url: s.fileURL(f.Path), foreign: s.foreign, retry5: 2})
	if err != nil {
		return fmt.Errorf("download %s: %w", f.Path, err)
	}
	defer resp.Body.Close()
	var body io.Reader = resp.Body
	if f.Size >= 0 {
		body = io.LimitReader(body, f.Size+1)
	}
	n, err := io.Copy(w, body)
	if err != nil {
		return fmt.Errorf("download %s: %w", f.Path, err)
	}
	if f.Size >= 0 && n != f.Size {
		return fmt.Errorf("download %s: %w: its size is not the listed %d", f.Path, ErrArtifact, f.Size)
	}
	return nil
}

func (s *store) fileURL(name string) string {
	return s.base + escapePath(path.Join(s.root, name))
}

// local says whether an artifact URI is a path of this machine.
func local(uri string) (string, bool) {
	if strings.HasPrefix(uri, "file:") {
		p, err := localPath(uri)
		return p, err == nil
	}
	return uri, !strings.Contains(uri, ":")
}

// Fetch brings the model of a resolved reference to the disk, through the
// cache. release says that it is no longer used. A folder is used where it is.
func (c *Client) Fetch(ctx context.Context, cache *Cache, r Resolved, progress func(done, total int64)) (dir string, release func(), err error) {
	if p, ok := local(r.ArtifactURI); ok {
		if r.Ref.Kind != KindFolder && !c.cfg.AllowLocal {
			return "", nil, fmt.Errorf("%w: %s is a local path; MILLRACE_MODEL_ALLOW_LOCAL_ARTIFACTS=true reads it", ErrNoAccess, p)
		}
		return p, func() {}, nil
	}
	return cache.Get(ctx, r.Identity, func(ctx context.Context, add func(File, func(io.Writer) error) error) error {
		s, err := c.open(r.ArtifactURI)
		if err != nil {
			return err
		}
		files, err := s.files(ctx)
		if err != nil {
			return err
		}
		var done, total int64
		for _, f := range files {
			total += max(0, f.Size)
		}
		for _, f := range files {
			err := add(f, func(w io.Writer) error { return s.read(ctx, f, w) })
			if err != nil {
				return err
			}
			if done += max(0, f.Size); progress != nil {
				progress(done, total)
			}
		}
		return nil
	})
}

// errQuarantined marks a snapshot whose files changed after they were written.
var errQuarantined = errors.New("cached files are not what was downloaded")
