package mlflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// unlisted is a folder whose files can be read but not listed: a plain web
// server's, or that of a model version by the tracking server's own route. What
// belongs to the model is taken from its MLmodel file.
type unlisted struct {
	get func(ctx context.Context, f File, offset int64) (*Body, error)
}

// openWeb opens a folder of a plain web server. Credentials go to the tracking
// server's own host alone.
func (c *Client) openWeb(uri string) (source, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: malformed artifact URI", ErrArtifact)
	}
	base := strings.TrimRight(u.String(), "/")
	foreign := c.base == nil || u.Host != c.base.Host || u.Scheme != c.base.Scheme
	return &unlisted{func(ctx context.Context, f File, offset int64) (*Body, error) {
		b, err := c.openHTTP(ctx, call{url: base + escapePath(f.Path), foreign: foreign}, f, offset)
		if e := (*APIError)(nil); errors.As(err, &e) && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
			err = fmt.Errorf("%w: %w", ErrNoAccess, err)
		}
		return b, err
	}}, nil
}

// Open reads a file.
func (s *unlisted) Open(ctx context.Context, f File, offset int64) (*Body, error) {
	return s.get(ctx, f, offset)
}

// Files reads MLmodel and gives what it names. What need not be there is asked
// for.
func (s *unlisted) Files(ctx context.Context, limit int) ([]File, error) {
	text, err := s.read(ctx, "MLmodel", maxMLmodel)
	if err != nil {
		return nil, err
	}
	needed, optional, err := namedFiles(text)
	if err != nil {
		return nil, err
	}
	if len(needed)+len(optional) > limit {
		return nil, tooMany(limit)
	}
	var files []File
	for _, name := range needed {
		files = append(files, File{Path: name, Size: -1})
	}
	for _, name := range optional {
		body, err := s.get(ctx, File{Path: name}, 0)
		if missing(err) || slices.Contains(needed, name) && err == nil {
			if err == nil {
				_ = body.Close() // it is read later
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		_ = body.Close() // it is read later
		files = append(files, File{Path: name, Size: body.Size})
	}
	return files, nil
}

func (s *unlisted) read(ctx context.Context, name string, most int64) ([]byte, error) {
	body, err := s.get(ctx, File{Path: name}, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%w: %s is too large", ErrArtifact, name)
	}
	return text, err
}

// missing says that a server has no such file. MLflow answers 500 for those of
// some stores.
func missing(err error) bool {
	var e *APIError
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusGone ||
		e.Status == http.StatusInternalServerError || e.Code == "RESOURCE_DOES_NOT_EXIST")
}

// namedFiles lists the files that an MLmodel file names, those that a model
// cannot do without and those that it can.
func namedFiles(text []byte) (needed, optional []string, err error) {
	var m struct {
		Flavors map[string]map[string]any `yaml:"flavors"`
		Example struct {
			Path    string `yaml:"artifact_path"`
			Serving string `yaml:"serving_input_path"`
		} `yaml:"saved_input_example_info"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&m); err != nil {
		return nil, nil, fmt.Errorf("%w: MLmodel: %w", ErrArtifact, err)
	}
	if len(m.Flavors) == 0 {
		return nil, nil, fmt.Errorf("%w: MLmodel names no flavor", ErrArtifact)
	}
	needed = []string{"MLmodel"}
	for _, name := range slices.Sorted(maps.Keys(m.Flavors)) {
		for _, key := range []string{"data", "pickled_model", "python_model"} {
			if file, ok := m.Flavors[name][key].(string); ok && file != "" {
				needed = append(needed, path.Clean(file))
			}
		}
	}
	for _, name := range []string{m.Example.Path, m.Example.Serving, "requirements.txt", "conda.yaml", "python_env.yaml"} {
		if name != "" {
			optional = append(optional, path.Clean(name))
		}
	}
	slices.Sort(needed)
	slices.Sort(optional)
	for _, name := range append(slices.Clone(needed), optional...) {
		if err := checkPath(name); err != nil {
			return nil, nil, fmt.Errorf("%w: MLmodel: %w", ErrArtifact, err)
		}
	}
	return slices.Compact(needed), slices.Compact(optional), nil
}
