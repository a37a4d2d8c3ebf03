package test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// Who reads the table of the values has to be able to trust it.
func TestREADMEHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	require.NoError(t, err)
	want, err := valuesTable(text)
	require.NoError(t, err)
	path := chart + "/README.md"
	readme, err := os.ReadFile(path)
	require.NoError(t, err)
	const begin, end = "<!-- values: written by `make docs`, held by a test -->\n", "<!-- end of values -->"
	head, rest, found := strings.Cut(string(readme), begin)
	require.True(t, found)
	have, tail, found := strings.Cut(rest, end)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	require.Equal(t, want, have, "run `make docs`")
}

// The schema has what the values have: a value that is not in the schema could not
// be set.
func TestSchemaHasEveryValue(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.Unmarshal(text, &values))
	text, err = os.ReadFile(chart + "/values.schema.json")
	require.NoError(t, err)
	var schema object
	require.NoError(t, yaml.Unmarshal(text, &schema))
	var walk func(path string, have map[string]any, schema object)
	walk = func(path string, have map[string]any, schema object) {
		properties, _ := schema["properties"].(map[string]any)
		if len(properties) == 0 {
			return // free, or a reference
		}
		names := slices.Sorted(maps.Keys(properties))
		names = slices.DeleteFunc(names, func(n string) bool { return n == "global" || n == "selectPolicy" })
		require.Equal(t, slices.Sorted(maps.Keys(have)), names, path)
		for name, v := range have {
			if m, ok := v.(map[string]any); ok {
				walk(path+"."+name, m, object(properties[name].(map[string]any)))
			}
		}
	}
	walk("", values, schema)
}
