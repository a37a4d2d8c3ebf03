package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"sigs.k8s.io/yaml"
)

// The sources of the definitions, as modules that are fetched and never built.
// Their sums are those of the Go checksum database.
const (
	kubernetesModule = "k8s.io/kubernetes@v1.37.2"
	kubernetesSum    = "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="
	kedaModule       = "github.com/kedacore/keda/v2@v2.21.0"
	kedaSum          = "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="
	operatorModule   = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
	operatorSum      = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="
)

// moduleDir fetches a module's source, and checks that it is the one that is meant.
func moduleDir(ctx context.Context, module, sum string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Env, cmd.Dir = append(cmd.Environ(), "GOFLAGS=-mod=mod"), os.TempDir()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", module, err, out)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", err
	}
	if got.Sum != sum {
		return "", fmt.Errorf("%s has the sum %s, not %s", module, got.Sum, sum)
	}
	return got.Dir, nil
}

// schemas tell whether an object is one that the API server would take.
type schemas struct {
	builtin *jsonschema.Compiler
	urls    map[string]string // of built-in kinds, by apiVersion/kind
	custom  map[string]customKind
	scalers map[string]map[string]parameter // KEDA's, by trigger type and name
}

type customKind struct {
	validator validation.SchemaValidator
	fields    *structural.Structural
}

type parameter struct {
	required bool
	allowed  []string
	auth     bool // a TriggerAuthentication may set it
	metadata bool // a trigger's metadata may
}

// fetchSchemas reads all definitions.
func fetchSchemas() (*schemas, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	s := &schemas{builtin: jsonschema.NewCompiler(), urls: map[string]string{}, custom: map[string]customKind{}, scalers: map[string]map[string]parameter{}}
	kubernetes, err := moduleDir(ctx, kubernetesModule, kubernetesSum)
	if err != nil {
		return nil, err
	}
	keda, err := moduleDir(ctx, kedaModule, kedaSum)
	if err != nil {
		return nil, err
	}
	operator, err := moduleDir(ctx, operatorModule, operatorSum)
	if err != nil {
		return nil, err
	}
	if err := s.addBuiltins(kubernetes); err != nil {
		return nil, err
	}
	for _, file := range []string{
		filepath.Join(keda, "config/crd/bases/keda.sh_scaledobjects.yaml"),
		filepath.Join(keda, "config/crd/bases/keda.sh_triggerauthentications.yaml"),
		filepath.Join(operator, "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"),
		filepath.Join(operator, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
		filepath.Join(operator, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
	} {
		if err := s.addCustom(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return s, s.addScalers(filepath.Join(keda, "schema/generated/scalers-schema.json"))
}

func (s *schemas) addBuiltins(kubernetes string) error {
	files, err := filepath.Glob(filepath.Join(kubernetes, "api/openapi-spec/v3/*__v*_openapi.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no OpenAPI documents in %s: %w", kubernetes, err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var doc struct {
			Components struct{ Schemas map[string]map[string]any }
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		url := "file:///" + filepath.Base(file)
		all := make(map[string]any)
		for name, schema := range doc.Components.Schemas {
			forbidUnknown(schema)
			all[name] = schema
			kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
			if len(kinds) != 1 {
				continue
			}
			o := object(kinds[0].(map[string]any))
			version := strings.TrimPrefix(fmt.Sprintf("%v/%v", o["group"], o["version"]), "/")
			s.urls[fmt.Sprintf("%s/%v", version, o["kind"])] = url + "#/components/schemas/" + name
		}
		if err := s.builtin.AddResource(url, map[string]any{"components": map[string]any{"schemas": all}}); err != nil {
			return err
		}
	}
	return nil
}

// forbidUnknown makes a misspelt field an error, as `kubectl --validate=strict`
// does.
func forbidUnknown(v any) {
	switch t := v.(type) {
	case map[string]any:
		if _, ok := t["properties"].(map[string]any); ok && t["type"] == "object" && t["additionalProperties"] == nil {
			t["additionalProperties"] = false
		}
		for _, x := range t {
			forbidUnknown(x)
		}
	case []any:
		for _, x := range t {
			forbidUnknown(x)
		}
	}
}

func (s *schemas) addCustom(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd extv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(raw, &crd); err != nil {
		return err
	}
	for _, v := range crd.Spec.Versions {
		var in apiextensions.JSONSchemaProps
		if err := extv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &in, nil); err != nil {
			return err
		}
		fields, err := structural.NewStructural(&in)
		if err != nil {
			return err
		}
		validator, _, err := validation.NewSchemaValidator(&in)
		if err != nil {
			return err
		}
		s.custom[fmt.Sprintf("%s/%s/%s", crd.Spec.Group, v.Name, crd.Spec.Names.Kind)] = customKind{validator, fields}
	}
	return nil
}

// addScalers reads what KEDA's scalers say of their parameters.
func (s *schemas) addScalers(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var doc struct {
		Scalers []struct {
			Type       string
			Parameters []struct {
				Name                                  string
				Optional                              bool
				Default                               any
				AllowedValue                          []string
				MetadataVariableReadable              bool
				TriggerAuthenticationVariableReadable bool
			}
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	for _, scaler := range doc.Scalers {
		s.scalers[scaler.Type] = make(map[string]parameter)
		for _, p := range scaler.Parameters {
			s.scalers[scaler.Type][p.Name] = parameter{!p.Optional && p.Default == nil, p.AllowedValue, p.TriggerAuthenticationVariableReadable, p.MetadataVariableReadable}
		}
	}
	return nil
}

// check returns what is wrong with an object.
func (s *schemas) check(o object) error {
	kind := fmt.Sprintf("%v/%v", o["apiVersion"], o["kind"])
	plain, err := plainJSON(o)
	if err != nil {
		return err
	}
	if url, ok := s.urls[kind]; ok {
		schema, err := s.builtin.Compile(url)
		if err != nil {
			return err
		}
		return schema.Validate(plain)
	}
	custom, ok := s.custom[kind]
	if !ok {
		return fmt.Errorf("%s is a kind without a definition", kind)
	}
	var errs []error
	for _, e := range validation.ValidateCustomResource(nil, plain, custom.validator) {
		errs = append(errs, e)
	}
	options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, p := range pruning.PruneWithOptions(plain, custom.fields, true, options) {
		errs = append(errs, fmt.Errorf("unknown field %s", p))
	}
	return errors.Join(errs...)
}

// plainJSON is an object as it comes over the wire.
func plainJSON(o object) (map[string]any, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	return plain, json.NewDecoder(bytes.NewReader(text)).Decode(&plain)
}
