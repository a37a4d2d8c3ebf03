package mlflow

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
)

// mediated is a model's folder that the tracking server reads from its store
// for us, with credentials of its own.
type mediated struct {
	c    *Client
	root string // of the model, below what the server lists; "" for all of it
	// list asks for a page of a folder, whose path is below the server's root.
	list func(ctx context.Context, dir, token string) (page, error)
	file func(name string) string // its address, the name below the server's root

	// presign asks for an address at the store, nil where no server can.
	presign func(ctx context.Context, name string) (presigned, error)
	plain   atomic.Bool // no presigned addresses: the server has none, or they do not work here
}

type page struct {
	Files []entry `json:"files"`
	Next  string  `json:"next_page_token"`
}

// openServer finds the server's own routes to a model: those of its logged
// model, else of its run, else of the model version, which cannot be listed.
func (c *Client) openServer(ctx context.Context, r Resolved) (source, error) {
	if c.base == nil {
		return nil, ErrNoRegistry
	}
	if r.ModelID != "" {
		return c.modelFiles(r.ModelID), nil
	}
	if r.Ref.Kind == KindRun {
		return c.runFiles(r.Ref.ID, r.Ref.Path), nil
	}
	if r.RunID != "" {
		root, err := c.RunArtifacts(ctx, r.RunID)
		if below, ok := strings.CutPrefix(r.ArtifactURI, strings.TrimRight(root, "/")+"/"); err == nil && root != "" && ok {
			return c.runFiles(r.RunID, strings.Trim(below, "/")), nil
		}
	}
	if r.Ref.Name == "" {
		return nil, fmt.Errorf("%w: the server has no route to %s", ErrNoAccess, r.Ref)
	}
	return &unlisted{func(ctx context.Context, f File, offset int64) (*Body, error) {
		q := url.Values{"name": {r.Name}, "version": {r.Version}, "path": {f.Path}}
		return c.openHTTP(ctx, call{url: c.url(q, "model-versions/get-artifact")}, f, offset)
	}}, nil
}

func (c *Client) runFiles(id, root string) *mediated {
	m := &mediated{
		c: c, root: root,
		list: func(ctx context.Context, dir, token string) (p page, err error) {
			return p, c.get(ctx, &p, query(map[string]string{"run_id": id, "path": dir, "page_token": token}), "artifacts/list")
		},
		file: func(name string) string { return c.url(url.Values{"run_id": {id}, "path": {name}}, "get-artifact") },
		presign: func(ctx context.Context, name string) (presigned, error) {
			var out struct {
				URL    string            `json:"presigned_url"`
				Header map[string]string `json:"headers"`
			}
			err := c.send(ctx, http.MethodPost, map[string]any{"run_id": id, "path": name}, &out, "artifacts/presigned-download-url")
			return presigned{out.URL, out.Header}, err
		},
	}
	m.plain.Store(c.cfg.Artifacts == ArtifactsServer)
	return m
}

func (c *Client) modelFiles(id string) *mediated {
	return &mediated{
		c: c,
		list: func(ctx context.Context, dir, token string) (p page, err error) {
			return p, c.get(ctx, &p, query(map[string]string{"artifact_directory_path": dir, "page_token": token}), "logged-models", id, "artifacts/directories")
		},
		file: func(name string) string {
			return c.url(url.Values{"artifact_file_path": {name}}, "ajax-api/2.0/mlflow/logged-models", id, "artifacts/files")
		},
	}
}

// query makes a query of the values that are not empty.
func query(values map[string]string) url.Values {
	q := url.Values{}
	for name, value := range values {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// Files walks the server's listings, whose paths are below its root.
func (s *mediated) Files(ctx context.Context, limit int) ([]File, error) {
	return walk(ctx, func(ctx context.Context, dir string) ([]entry, error) {
		return s.folder(ctx, path.Join(s.root, dir), limit)
	}, limit)
}

// folder lists one folder by its base names.
func (s *mediated) folder(ctx context.Context, dir string, limit int) ([]entry, error) {
	var all []entry
	for token := ""; ; {
		p, err := s.list(ctx, dir, token)
		if err != nil {
			return nil, err
		}
		for _, e := range p.Files {
			if dir != "" {
				below, ok := strings.CutPrefix(e.Path, dir+"/")
				if !ok {
					return nil, fmt.Errorf("%w: the server lists %q in %q", ErrArtifact, e.Path, dir)
				}
				e.Path = below
			}
			all = append(all, e)
		}
		if p.Next == "" {
			return all, nil
		}
		if len(all) > limit || len(p.Files) == 0 || p.Next == token {
			return nil, tooMany(limit)
		}
		token = p.Next
	}
}

// Open reads a file through the server, a large one by a presigned address
// where the server gives one.
func (s *mediated) Open(ctx context.Context, f File, offset int64) (*Body, error) {
	name := path.Join(s.root, f.Path)
	if s.presign != nil && f.Size >= presignFrom && !s.plain.Load() {
		p, err := s.presign(ctx, name)
		if err == nil {
			var b *Body
			if b, err = s.c.openSigned(ctx, p, f, offset); err == nil {
				return b, nil
			}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if !s.plain.Swap(true) && !unsupported(err) {
			s.c.log.Warn("a presigned address does not work from here; the files come through the server", "error", err)
		}
	}
	return s.c.openHTTP(ctx, call{url: s.file(name)}, f, offset)
}
