package mlflow

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Resolved is what a reference names.
type Resolved struct {
	Ref         Ref
	Name        string
	Version     string
	Identity    string // of server, workspace, name, version, creation and artifact URI
	ArtifactURI string // where the bytes are; of a folder its path
	Source      string // as it was registered
	Status      string
	RunID       string // that made it, "" when the registry does not tell
	ModelID     string // of the logged model that holds its files, "" for none
}

// Resolve asks what a reference names at the moment.
func (c *Client) Resolve(ctx context.Context, r Ref) (Resolved, error) {
	out, err := c.resolve(ctx, r)
	if err != nil {
		return Resolved{}, fmt.Errorf("resolve %s: %w", r, err)
	}
	return out, nil
}

func (c *Client) resolve(ctx context.Context, r Ref) (Resolved, error) {
	switch r.Kind {
	case KindFolder:
		return resolveFolder(r)
	case KindLoggedModel:
		m, err := c.LoggedModel(ctx, r.ID)
		if err != nil {
			return Resolved{}, err
		}
		if err := checkStatus(strings.TrimPrefix(m.Status, "LOGGED_MODEL_"), ""); err != nil {
			return Resolved{}, err
		}
		return c.identified(Resolved{Ref: r, Name: m.Name, Version: r.ID, ArtifactURI: m.ArtifactURI, Source: r.String(), Status: m.Status, ModelID: r.ID}, m.Created), nil
	case KindRun:
		uri, id, err := c.runModel(ctx, r)
		if err != nil {
			return Resolved{}, err
		}
		return c.identified(Resolved{Ref: r, Name: r.Path, Version: r.ID, ArtifactURI: uri, Source: r.String(), Status: "READY", RunID: r.ID, ModelID: id}, 0), nil
	case KindAlias:
		return c.ofVersion(ctx, r)(c.ByAlias(ctx, r.Name, r.Alias))
	case KindVersion:
		return c.ofVersion(ctx, r)(c.ByVersion(ctx, r.Name, r.Version))
	case KindLatest, KindStage:
		return c.ofVersion(ctx, r)(c.Latest(ctx, r.Name, r.Stage))
	}
	return Resolved{}, fmt.Errorf("%w: kind %d", ErrBadReference, r.Kind)
}

func resolveFolder(r Ref) (Resolved, error) {
	dir, err := filepath.Abs(r.Path)
	if err != nil {
		return Resolved{}, err
	}
	if _, err := ReadFolder(dir); err != nil {
		return Resolved{}, err
	}
	hash, err := HashFolder(dir)
	if err != nil {
		return Resolved{}, err
	}
	return Resolved{Ref: r, Name: filepath.Base(dir), Version: hash, Identity: "folder-" + hash, ArtifactURI: dir, Source: dir, Status: "READY"}, nil
}

// ofVersion resolves a model version to its artifacts.
func (c *Client) ofVersion(ctx context.Context, r Ref) func(*ModelVersion, error) (Resolved, error) {
	return func(v *ModelVersion, err error) (Resolved, error) {
		if err != nil {
			return Resolved{}, err
		}
		if err := checkStatus(v.Status, v.StatusMessage); err != nil {
			return Resolved{}, fmt.Errorf("version %s: %w", v.Version, err)
		}
		if out, known := c.memo.get(v); known {
			out.Ref, out.Status = r, v.Status
			return out, nil
		}
		uri, err := c.DownloadURI(ctx, v.Name, v.Version)
		if err != nil {
			return Resolved{}, err
		}
		if uri == "" {
			uri = v.Source
		}
		out := Resolved{Ref: r, Name: v.Name, Version: v.Version, Source: v.Source, Status: v.Status, RunID: v.RunID}
		if s, err := ParseRef(v.Source); err == nil && s.Kind == KindLoggedModel {
			out.ModelID = s.ID // the server gives it nowhere else
		}
		var id string
		if out.ArtifactURI, id, err = c.concrete(ctx, uri); err != nil {
			return Resolved{}, err
		}
		out.ModelID = cmp.Or(out.ModelID, id)
		out = c.identified(out, v.Created)
		c.memo.put(v, out)
		return out, nil
	}
}

// concrete replaces runs:/ and models:/m-… by the store's own address. id is
// that of the logged model that it is, "" for none.
func (c *Client) concrete(ctx context.Context, uri string) (_, id string, err error) {
	if !strings.HasPrefix(uri, "runs:") && !strings.HasPrefix(uri, "models:") {
		return uri, "", nil
	}
	r, err := ParseRef(uri)
	if err != nil {
		return "", "", err
	}
	if r.Kind == KindRun {
		return c.runModel(ctx, r)
	}
	if r.Kind == KindLoggedModel {
		m, err := c.LoggedModel(ctx, r.ID)
		if err != nil {
			return "", "", err
		}
		return m.ArtifactURI, r.ID, nil
	}
	return "", "", fmt.Errorf("%w: a version whose source is another version, %s", ErrBadReference, uri)
}

// runModel finds the model at a path of a run: the logged model of that name
// that the run made, as MLflow 3 keeps them, else a folder of its artifacts.
func (c *Client) runModel(ctx context.Context, r Ref) (uri, id string, err error) {
	run, err := c.run(ctx, r.ID)
	if err != nil {
		return "", "", err
	}
	name, below, deeper := strings.Cut(r.Path, "/")
	for _, out := range slices.Backward(run.Outputs.Models) { // the latest of a name
		m, err := c.LoggedModel(ctx, out.ID)
		if err != nil || m.Name != name {
			continue // one that was deleted is no model of the run any more
		}
		if deeper {
			return joinURI(m.ArtifactURI, below), "", nil
		}
		return m.ArtifactURI, out.ID, nil
	}
	return joinURI(run.Info.URI, r.Path), "", nil
}

func checkStatus(status, message string) error {
	switch status {
	case "READY", "":
		return nil
	case "PENDING_REGISTRATION", "PENDING", "UPLOAD_PENDING":
		return fmt.Errorf("%w: %s", ErrNotReady, status)
	}
	return fmt.Errorf("%w: %s %s", ErrFailed, status, message)
}

func (c *Client) identified(r Resolved, created Int) Resolved {
	h := sha256.New()
	for _, s := range []string{c.base.String(), c.cfg.Workspace, r.Name, r.Version, strconv.FormatInt(int64(created), 10), r.ArtifactURI} {
		_, _ = fmt.Fprintf(h, "%q\n", s) // quoted, so that no two lists read the same; a hash never fails
	}
	r.Identity = hex.EncodeToString(h.Sum(nil))[:32]
	return r
}

func joinURI(base, p string) string { return strings.TrimRight(base, "/") + "/" + p }
