package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/millrace/millrace/model"
)

// Resolved is what a reference names at the moment.
type Resolved struct {
	Name     string
	Version  string
	Identity string // the endpoint, the version, and what it takes and gives
	Source   string // for people
	Platform string // what the endpoint says that the model runs on; may be empty

	path []string // of the model, below the endpoint
	pin  string   // the version that answers have to be of, "" when there are none
}

// metadata is what a V2 endpoint says of a model.
type metadata struct {
	Name     string           `json:"name"`
	Versions []name           `json:"versions"`
	Platform string           `json:"platform"`
	Inputs   []tensorMetadata `json:"inputs"`
	Outputs  []tensorMetadata `json:"outputs"`
}

type tensorMetadata struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

// name is a version, which some servers write as a number.
type name string

// UnmarshalJSON reads a text or a number.
func (n *name) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, (*string)(n))
	}
	var number json.Number
	if err := json.Unmarshal(text, &number); err != nil {
		return err
	}
	*n = name(number)
	return nil
}

// Resolve asks the endpoint which version of the model it serves. Without a
// version in the reference it is the one with the highest number: requests then
// name it, so that no answer is another version's.
func (c *Client) Resolve(ctx context.Context) (Resolved, error) {
	if c.ref.Protocol == Scoring {
		return c.resolveScoring(ctx)
	}
	r := Resolved{Name: c.ref.Model, Version: c.ref.Version, pin: c.ref.Version, path: []string{"v2", "models", c.ref.Model}}
	if r.pin != "" {
		r.path = append(r.path, "versions", r.pin)
	}
	m, err := c.metadata(ctx, r.path)
	if err != nil {
		return Resolved{}, err
	}
	if r.pin == "" {
		if r.pin, err = newest(m.Versions); err != nil {
			return Resolved{}, fmt.Errorf("%s: %w", c.ref, err)
		}
		if r.pin != "" {
			r.path = append(r.path, "versions", r.pin)
		}
	}
	r.Platform = m.Platform
	sum := m.hash()
	if r.Version = r.pin; r.Version == "" { // a server without versions
		r.Version = sum
	}
	r.Source = c.ref.url(r.path...)
	r.Identity = r.Source + "#" + sum
	return r, nil
}

func (c *Client) metadata(ctx context.Context, path []string) (*metadata, error) {
	a, err := c.get(ctx, path...)
	if err != nil {
		return nil, err
	}
	m := new(metadata)
	if err := json.Unmarshal(a.body, m); err != nil {
		return nil, fmt.Errorf("GET %s: not the metadata of a V2 model (is the URL right?): %w", c.ref.url(path...), err)
	}
	return m, nil
}

// newest picks the version to serve: the only one, or the highest number. There
// may be none.
func newest(versions []name) (string, error) {
	if len(versions) <= 1 {
		return string(append(versions, "")[0]), nil
	}
	best, highest := "", uint64(0)
	for _, v := range versions {
		n, err := strconv.ParseUint(string(v), 10, 63)
		if err != nil {
			return "", fmt.Errorf("the endpoint serves several versions that are no numbers: name one of %q in the reference", versions)
		}
		if best == "" || n > highest {
			best, highest = string(v), n
		}
	}
	return best, nil
}

// hash tells apart what the same version's number is given to.
func (m *metadata) hash() string {
	h := sha256.New()
	err := json.NewEncoder(h).Encode([]any{m.Platform, m.Inputs, m.Outputs})
	if err != nil { // it was read from JSON
		return ""
	}
	const digits = 12
	return hex.EncodeToString(h.Sum(nil))[:digits]
}

// info is the metadata as the rest of Millrace has it.
func (m *metadata) info() (info model.Info, err error) {
	if info.Inputs, err = specs(m.Inputs); err != nil {
		return info, fmt.Errorf("inputs: %w", err)
	}
	if info.Outputs, err = specs(m.Outputs); err != nil {
		return info, fmt.Errorf("outputs: %w", err)
	}
	return info, nil
}

func specs(list []tensorMetadata) ([]model.Spec, error) {
	const most, mostDims = 1 << 10, 32
	switch {
	case len(list) == 0:
		return nil, errors.New("the model's metadata names none: set them where the server keeps the model's configuration (MLServer: model-settings.json)")
	case len(list) > most:
		return nil, fmt.Errorf("the model's metadata names %d of them", len(list))
	}
	out := make([]model.Spec, len(list))
	for i, t := range list {
		dtype, err := model.ParseV2DType(t.Datatype)
		switch {
		case t.Name == "" || slices.ContainsFunc(out[:i], func(s model.Spec) bool { return s.Name == t.Name }):
			return nil, fmt.Errorf("%q is empty or comes twice", t.Name)
		case err != nil:
			return nil, fmt.Errorf("%q has the datatype %q, which is not supported (there are BOOL, INT8 to INT64, UINT8 to UINT64, FP16, FP32, FP64 and BYTES)", t.Name, t.Datatype)
		case len(t.Shape) > mostDims || slices.ContainsFunc(t.Shape, func(d int64) bool { return d < -1 }):
			return nil, fmt.Errorf("%q has the shape %v", t.Name, t.Shape)
		}
		out[i] = model.Spec{Name: t.Name, DType: dtype, Shape: t.Shape}
	}
	return out, nil
}

// Signature is what the metadata declares, in the form of MLflow's: requests in
// that dialect are then cast to the model's types, and a version that breaks
// the one before it is found. It is nil when a shape is not declared.
func Signature(info model.Info) (*model.Signature, error) {
	inputs, ok := schema(info.Inputs)
	outputs, also := schema(info.Outputs)
	if !ok || !also {
		return nil, nil //nolint:nilnil // there is none, as of models without one
	}
	return model.ParseSignature(inputs, outputs, "")
}

func schema(list []model.Spec) (string, bool) {
	type tensor struct {
		DType string  `json:"dtype"`
		Shape []int64 `json:"shape"`
	}
	type field struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Tensor tensor `json:"tensor-spec"`
	}
	fields := make([]field, len(list))
	for i, s := range list {
		if s.Shape == nil {
			return "", false
		}
		fields[i] = field{s.Name, "tensor", tensor{s.DType.String(), s.Shape}}
	}
	text, err := json.Marshal(fields)
	return string(text), err == nil
}

// ready asks the model's own readiness.
func (c *Client) ready(ctx context.Context, path []string) error {
	a, err := c.get(ctx, append(slices.Clip(path), "ready")...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	var said struct {
		Ready *bool `json:"ready"` // Triton answers with the status alone
	}
	if len(bytes.TrimSpace(a.body)) > 0 && json.Unmarshal(a.body, &said) == nil && said.Ready != nil && !*said.Ready {
		return ErrNotReady
	}
	return nil
}

// binary asks whether the endpoint takes the binary tensor extension.
func (c *Client) binary(ctx context.Context) (bool, error) {
	a, err := c.get(ctx, "v2")
	if err != nil {
		return false, err
	}
	var server struct {
		Extensions []string `json:"extensions"`
	}
	if err := json.Unmarshal(a.body, &server); err != nil {
		return false, fmt.Errorf("GET %s: not the metadata of a V2 server (is the URL right?): %w", c.ref.url("v2"), err)
	}
	return slices.Contains(server.Extensions, "binary_tensor_data"), nil
}
