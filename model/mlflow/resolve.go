package mlflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
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
		return c.identified(Resolved{Ref: r, Name: m.Name, Version: r.ID, ArtifactURI: m.ArtifactURI, Source: r.String(), Status: m.Status}, m.Created), nil
	case KindRun:
		uri, err := c.RunArtifacts(ctx, r.ID)
		if err != nil {
			return Resolved{}, err
		}
		return c.identified(Resolved{Ref: r, Name: r.Path, Version: r.ID, ArtifactURI: joinURI(uri, r.Path), Source: r.String(), Status: "READY"}, 0), nil
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
		uri, err := c.DownloadURI(ctx, v.Name, v.Version)
		if err != nil {
			return Resolved{}, err
		}
		if uri == "" {
			uri = v.Source
		}
		if uri, err = c.concrete(ctx, uri); err != nil {
			return Resolved{}, err
		}
		return c.identified(Resolved{Ref: r, Name: v.Name, Version: v.Version, ArtifactURI: uri, Source: v.Source, Status: v.Status}, v.Created), nil
	}
}

// concrete replaces runs:/ and models:/m-… by the store's own address.
func (c *Client) concrete(ctx context.Context, uri string) (string, error) {
	if !strings.HasPrefix(uri, "runs:") && !strings.HasPrefix(uri, "models:") {
		return uri, nil
	}
	r, err := ParseRef(uri)
	if err != nil {
		return "", err
	}
	if r.Kind == KindRun {
		base, err := c.RunArtifacts(ctx, r.ID)
		return joinURI(base, r.Path), err
	}
	if r.Kind == KindLoggedModel {
		m, err := c.LoggedModel(ctx, r.ID)
		if err != nil {
			return "", err
		}
		return m.ArtifactURI, nil
	}
	return "", fmt.Errorf("%w: a version whose source is another version, %s", ErrBadReference, uri)
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
