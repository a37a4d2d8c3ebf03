package mlflow

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Int is an int64 that the server sends as a number or as a string.
type Int int64

// UnmarshalJSON takes both.
func (i *Int) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		*i = 0
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("int64 %s: %w", b, err)
	}
	*i = Int(n)
	return nil
}

// ModelVersion is a version of a registered model.
type ModelVersion struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Created       Int    `json:"creation_timestamp"` // milliseconds
	Stage         string `json:"current_stage"`
	Source        string `json:"source"`
	RunID         string `json:"run_id"`
	Status        string `json:"status"`
	StatusMessage string `json:"status_message"`
}

// ByAlias returns the version that an alias names.
func (c *Client) ByAlias(ctx context.Context, name, alias string) (*ModelVersion, error) {
	return c.version(ctx, url.Values{"name": {name}, "alias": {alias}}, "registered-models/alias")
}

// ByVersion returns a version.
func (c *Client) ByVersion(ctx context.Context, name, version string) (*ModelVersion, error) {
	return c.version(ctx, url.Values{"name": {name}, "version": {version}}, "model-versions/get")
}

func (c *Client) version(ctx context.Context, q url.Values, path string) (*ModelVersion, error) {
	var out struct {
		V *ModelVersion `json:"model_version"`
	}
	if err := c.get(ctx, &out, q, path); err != nil {
		return nil, err
	}
	if out.V == nil || out.V.Version == "" {
		return nil, fmt.Errorf("mlflow: the answer of %s holds no version", path)
	}
	return out.V, nil
}

// Latest returns the newest version, of one stage when stage is not "".
func (c *Client) Latest(ctx context.Context, name, stage string) (*ModelVersion, error) {
	in := map[string]any{"name": name}
	if stage != "" {
		in["stages"] = []string{stage}
	}
	var out struct {
		V []ModelVersion `json:"model_versions"`
	}
	if err := c.send(ctx, http.MethodPost, in, &out, "registered-models/get-latest-versions"); err != nil {
		return nil, err
	}
	var best *ModelVersion
	for i := range out.V {
		if v := &out.V[i]; best == nil || number(v.Version) > number(best.Version) {
			best = v
		}
	}
	if best == nil {
		return nil, fmt.Errorf("mlflow: model %s has no version in stage %q: %w", name, stage, ErrNotFound)
	}
	return best, nil
}

func number(version string) int64 {
	n, _ := strconv.ParseInt(version, 10, 64)
	return n
}

// DownloadURI returns where a version's artifacts are.
func (c *Client) DownloadURI(ctx context.Context, name, version string) (string, error) {
	var out struct {
		URI string `json:"artifact_uri"`
	}
	err := c.get(ctx, &out, url.Values{"name": {name}, "version": {version}}, "model-versions/get-download-uri")
	return out.URI, err
}

// runInfo is the part of a run that leads to its artifacts.
type runInfo struct {
	Info struct {
		ID  string `json:"run_id"`
		URI string `json:"artifact_uri"`
	} `json:"info"`
	Outputs struct {
		Models []struct {
			ID string `json:"model_id"`
		} `json:"model_outputs"`
	} `json:"outputs"`
}

func (c *Client) run(ctx context.Context, id string) (*runInfo, error) {
	var out struct {
		Run runInfo `json:"run"`
	}
	err := c.get(ctx, &out, url.Values{"run_id": {id}}, "runs/get")
	return &out.Run, err
}

// RunArtifacts returns a run's artifact URI.
func (c *Client) RunArtifacts(ctx context.Context, id string) (string, error) {
	run, err := c.run(ctx, id)
	return run.Info.URI, err
}

// LoggedModel is a model of MLflow 3 that belongs to no registered model.
type LoggedModel struct {
	ID          string `json:"model_id"`
	Name        string `json:"name"`
	ArtifactURI string `json:"artifact_uri"`
	Status      string `json:"status"`
	Created     Int    `json:"creation_timestamp_ms"`
}

// LoggedModel returns a logged model.
func (c *Client) LoggedModel(ctx context.Context, id string) (*LoggedModel, error) {
	var out struct {
		Model struct {
			Info LoggedModel `json:"info"`
		} `json:"model"`
	}
	if err := c.get(ctx, &out, nil, "logged-models", id); err != nil {
		return nil, err
	}
	return &out.Model.Info, nil
}
