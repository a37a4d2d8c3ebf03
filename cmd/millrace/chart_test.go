package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chartDir is where the chart is, from here.
const chartDir = "../../charts/millrace"

// inChart are the commands that the chart runs.
func inChart() []string { return []string{"worker", "gateway", "topics"} }

// chartVariable is what the chart's templates know of a variable.
type chartVariable struct {
	Commands []string `json:"commands"`
	Default  string   `json:"default"`
}

// The chart takes settings under the code's own names, so that nothing has to be
// kept in step by hand: which there are, who reads them and what holds without
// them is written from the code, for its templates and for its schema.
func TestChartKnowsEveryVariable(t *testing.T) {
	known, settings, secrets := make(map[string]chartVariable), make(map[string]any), make(map[string]bool)
	ref := map[string]any{
		"type": "object", "additionalProperties": false, "required": []string{"name", "key"},
		"properties": map[string]any{
			"name": map[string]any{"type": "string", "minLength": 1}, "key": map[string]any{"type": "string", "minLength": 1},
		},
	}
	kinds := variableKinds()
	for _, v := range allVariables() {
		commands := slices.DeleteFunc(slices.Clone(v.commands), func(c string) bool { return !slices.Contains(inChart(), c) })
		if len(commands) == 0 {
			continue
		}
		known[v.name] = chartVariable{commands, v.fallback}
		if v.secret {
			secrets[v.name] = true
			continue
		}
		s := schemaOf(kinds[v.name])
		s["description"] = v.help
		if v.name == "MILLRACE_DELIVERY" {
			s["enum"] = []string{atLeastOnce, exactlyOnce, queue}
		}
		settings[v.name] = s
	}
	require.Greater(t, len(settings), 100)
	require.Greater(t, len(secrets), 3)

	path := filepath.Join(chartDir, "values.schema.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var schema map[string]any
	require.NoError(t, json.Unmarshal(text, &schema))
	definitions, ok := schema["definitions"].(map[string]any)
	require.True(t, ok)
	definitions["config"] = map[string]any{"type": "object", "additionalProperties": false, "properties": settings}
	definitions["secretEnv"] = map[string]any{
		"type": "object", "additionalProperties": ref,
		// What is not ours may be anything: AWS's, OpenTelemetry's.
		"propertyNames": map[string]any{"anyOf": []any{
			map[string]any{"enum": slices.Sorted(maps.Keys(secrets))},
			map[string]any{"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "not": map[string]any{"pattern": "^(MILLRACE|MLFLOW)_"}},
		}},
	}
	chartFileIs(t, path, schema)
	chartFileIs(t, filepath.Join(chartDir, "files", "variables.json"), known)
}

// chartFileIs holds a file equal to the JSON of v, or writes it.
func chartFileIs(t *testing.T, path string, v any) {
	t.Helper()
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(v))
	if *update {
		require.NoError(t, os.WriteFile(path, want.Bytes(), 0o644))
		return
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(have), "run `make docs`")
}

func variableKinds() map[string]reflect.Type {
	kinds := make(map[string]reflect.Type)
	for _, c := range configured() {
		for _, f := range fields(c.config) {
			kinds[f.name] = f.Type
		}
	}
	return kinds
}

// schemaOf is what the values of a type may be.
func schemaOf(typ reflect.Type) map[string]any {
	text := map[string]any{"type": "string"}
	switch kind := typ.Kind(); {
	case typ == reflect.TypeFor[time.Duration]():
		text["pattern"] = `^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
		return text
	case kind == reflect.Bool:
		return map[string]any{"type": "boolean"}
	case kind == reflect.Slice:
		return map[string]any{"type": []string{"string", "array"}, "items": text}
	case typ.PkgPath() != "": // reads itself from a text
		return map[string]any{"type": []string{"string", "number"}}
	case kind == reflect.Float64:
		return map[string]any{"type": []string{"number", "string"}, "pattern": `^[0-9.]+(e-?[0-9]+)?$`}
	case strings.HasPrefix(kind.String(), "int"), strings.HasPrefix(kind.String(), "uint"):
		return map[string]any{"type": "integer"}
	}
	return text
}

// The files of others that the chart carries, for it may read none outside.
func TestChartCarriesTheLocustfile(t *testing.T) {
	want, err := os.ReadFile("../../load/locustfile.py")
	require.NoError(t, err)
	path := filepath.Join(chartDir, "files", "locustfile.py")
	if *update {
		require.NoError(t, os.WriteFile(path, want, 0o644))
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(have), "run `make docs`")
}
