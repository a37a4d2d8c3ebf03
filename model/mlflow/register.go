package mlflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Registration says what to register.
type Registration struct {
	Folder      string
	Name        string            // the registered model's; created when it is missing
	Alias       string            // set to the new version; "" for none
	Description string            // of the new version
	Tags        map[string]string // of the new version
	Experiment  string            // id of the experiment that holds the artifacts, "0" when it is empty
	Progress    func(Progress)    // called now and then by one goroutine; nil logs instead
}

// Register uploads a model folder and makes it a version of a registered
// model, over REST alone.
func (c *Client) Register(ctx context.Context, r Registration) (*ModelVersion, error) {
	v, err := c.register(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("register %s as %s: %w", r.Folder, r.Name, err)
	}
	return v, nil
}

func (c *Client) register(ctx context.Context, r Registration) (*ModelVersion, error) {
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if _, err := ReadFolder(r.Folder); err != nil {
		return nil, err
	}
	if r.Experiment == "" {
		r.Experiment = "0"
	}
	in, err := c.upload(ctx, r)
	if err != nil {
		return nil, err
	}
	in["name"] = r.Name
	err = c.send(ctx, http.MethodPost, map[string]any{"name": r.Name}, nil, "registered-models/create")
	if e := (*APIError)(nil); err != nil && (!errors.As(err, &e) || e.Code != "RESOURCE_ALREADY_EXISTS") {
		return nil, err
	}
	if r.Description != "" {
		in["description"] = r.Description
	}
	if len(r.Tags) > 0 {
		in["tags"] = tagList(r.Tags)
	}
	var out struct {
		V ModelVersion `json:"model_version"`
	}
	if err := c.send(ctx, http.MethodPost, in, &out, "model-versions/create"); err != nil {
		return nil, err
	}
	if r.Alias != "" {
		in := map[string]any{"name": r.Name, "alias": r.Alias, "version": out.V.Version}
		if err := c.send(ctx, http.MethodPost, in, nil, "registered-models/alias"); err != nil {
			return nil, fmt.Errorf("version %s is registered, but not its alias: %w", out.V.Version, err)
		}
	}
	return &out.V, nil
}

type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func tagList(tags map[string]string) []tag {
	list := make([]tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, tag{key, tags[key]})
	}
	return list
}

// upload puts the folder where a logged model lies, or a run's artifacts on
// servers that know no logged models, and returns what a version says of it.
func (c *Client) upload(ctx context.Context, r Registration) (version map[string]any, err error) {
	var logged struct {
		Model struct {
			Info LoggedModel `json:"info"`
		} `json:"model"`
	}
	in := map[string]any{"experiment_id": r.Experiment, "name": loggedName(r.Name)}
	err = c.send(ctx, http.MethodPost, in, &logged, "logged-models")
	if noRoute(err) {
		return c.uploadRun(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	m := logged.Model.Info
	if err := c.putFolder(ctx, r, m.ArtifactURI); err != nil {
		return nil, err
	}
	in = map[string]any{"model_id": m.ID, "status": "LOGGED_MODEL_READY"}
	// The server takes the source only beside the id that it names.
	version = map[string]any{"source": "models:/" + m.ID, "model_id": m.ID}
	return version, c.send(ctx, http.MethodPatch, in, nil, "logged-models", m.ID)
}

// loggedName is a registered model's name as a logged model may bear it.
func loggedName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/:.%"'`, r) {
			return '_'
		}
		return r
	}, name)
}

func (c *Client) uploadRun(ctx context.Context, r Registration) (version map[string]any, err error) {
	var out struct {
		Run runInfo `json:"run"`
	}
	in := map[string]any{"experiment_id": r.Experiment, "start_time": time.Now().UnixMilli()}
	if err := c.send(ctx, http.MethodPost, in, &out, "runs/create"); err != nil {
		return nil, err
	}
	info := out.Run.Info
	version = map[string]any{"source": joinURI(info.URI, "model"), "run_id": info.ID}
	if err := c.putFolder(ctx, r, joinURI(info.URI, "model")); err != nil {
		return nil, err
	}
	end := map[string]any{"run_id": info.ID, "status": "FINISHED", "end_time": time.Now().UnixMilli()}
	return version, c.send(ctx, http.MethodPost, end, nil, "runs/update")
}
