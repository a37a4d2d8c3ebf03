package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSignatureReadsAsALine(t *testing.T) {
	s, err := ParseSignature(
		`[{"name":"a","type":"double","required":true},{"name":"b c","type":"long","required":false},{"name":"d","type":"array","items":{"type":"object","properties":{"z":{"type":"string","required":false},"y":{"type":"map","values":{"type":"any"}}}}}]`,
		`[{"name":"Y","type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,3]}}]`,
		`[{"name":"limit","dtype":"long","default":5,"shape":null},{"name":"p","type":"double","default":[ 1.0, 2 ],"shape":[-1]}]`)
	require.NoError(t, err)
	require.Equal(t, `(a: double, "b c"?: long, d: array({z?: string, y: map(any)})) -> (Y: float32[-1, 3]), params (limit: long = 5, p: double[-1] = [1.0,2])`, s.String())
	require.Equal(t, Field{Name: "b c", Type: "long"}, s.Inputs()[1])
	require.Equal(t, []Field{{Name: "Y", Type: "float32", Shape: []int64{-1, 3}, Required: true}}, s.Outputs())
	require.Equal(t, []Field{{Name: "limit", Type: "long", Default: "5"}, {Name: "p", Type: "double", Shape: []int64{-1}, Default: "[1.0,2]"}}, s.Params())

	s, err = ParseSignature("", "null", "")
	require.NoError(t, err)
	require.Equal(t, "(not declared) -> (not declared)", s.String())
	s, err = ParseSignature(`[{"type":"double"},{"type":"string"}]`, "", "")
	require.NoError(t, err)
	require.Equal(t, "(double, string) -> (not declared)", s.String())
}

func TestBadSignatures(t *testing.T) {
	for _, c := range []struct{ inputs, params, want string }{
		{`{`, "", "inputs: "},
		{`[]`, "", "inputs: the list is empty"},
		{`[null]`, "", "item 0 is null"},
		{`[{"name":"a"}]`, "", `item 0 ("a"): a type is missing`},
		{`[{"name":"a","type":"complex"}]`, "", `unknown type "complex"`},
		{`[{"name":"a","type":"array"}]`, "", "type array without items"},
		{`[{"name":"a","type":"map"}]`, "", "type map without values"},
		{`[{"name":"a","type":"object"}]`, "", "type object without properties"},
		{`[{"name":"a","type":"object","properties":{"p":{"type":"x"}}}]`, "", `property "p": unknown type "x"`},
		{`[{"name":"a","type":"tensor"}]`, "", "without tensor-spec"},
		{`[{"name":"a","type":"tensor","tensor-spec":{"dtype":"complex64","shape":[1]}}]`, "", "unknown tensor type"},
		{`[{"name":"a","type":"tensor","tensor-spec":{"dtype":"int8","shape":[-2]}}]`, "", "negative dimension"},
		{`[{"name":"a","type":"long"},{"type":"long"}]`, "", "some have names and some have not"},
		{`[{"name":"a","type":"long"},{"name":"a","type":"long"}]`, "", `"a" comes twice`},
		{`[{"type":"long","required":false}]`, "", "an optional column without a name"},
		{`[{"name":"a","type":"long"},{"name":"b","type":"tensor","tensor-spec":{"dtype":"int8","shape":[1]}}]`, "", "columns and tensors are mixed"},
		{"", `[{"type":"long"}]`, "params: item 0 has no name"},
		{"", `[{"name":"a","type":"binary","default":""}]`, "a parameter cannot be of type binary"},
		{"", `[{"name":"a","type":"long","shape":[2]}]`, "shape [2]"},
	} {
		_, err := ParseSignature(c.inputs, "", c.params)
		require.ErrorContains(t, err, c.want, c.inputs+c.params)
	}
}

func TestCompatible(t *testing.T) {
	const (
		a    = `{"name":"a","type":"double"}`
		b    = `{"name":"b","type":"integer"}`
		opt  = `{"name":"b","type":"integer","required":false}`
		long = `{"name":"b","type":"long"}`
	)
	tensor := func(shape, dtype string) string {
		return `{"name":"X","type":"tensor","tensor-spec":{"dtype":"` + dtype + `","shape":` + shape + `}}`
	}
	for _, c := range []struct{ current, next, want string }{
		{a, a, ""},
		{a + "," + b, b + "," + a, ""},
		{a + "," + b, a + "," + long, ""},
		{a + "," + b, a + "," + opt, ""},
		{a, a + "," + opt, ""},
		{b, `{"name":"b","type":"any"}`, ""},
		{a, a + "," + b, "input b is new and required"},
		{a + "," + opt, a + "," + b, "input b becomes required"},
		{a + "," + b, a, "input b is gone"},
		{long, b, "input b changes from long to integer"},
		{a, `{"name":"a","type":"string"}`, "input a changes from double to string"},
		{a, tensor("[-1]", "float32"), "between columns and tensors"},
		{a, `{"type":"double"}`, "between having names and having none"},
		{`{"type":"double"},{"type":"long"}`, `{"type":"double"}`, "input number 2 is gone"},
		{a, "", "inputs are no longer declared"},
		{tensor("[-1,4]", "float32"), tensor("[-1,-1]", "float32"), ""},
		{tensor("[-1,4]", "float32"), tensor("[-1,5]", "float32"), "input X changes from float32[-1, 4] to float32[-1, 5]"},
		{tensor("[-1,4]", "float32"), tensor("[1,4]", "float32"), "input X changes"},
		{tensor("[-1]", "float32"), tensor("[-1]", "float64"), "input X changes"},
		{`{"name":"o","type":"object","properties":{"p":{"type":"long"}}}`, `{"name":"o","type":"object","properties":{"p":{"type":"long"},"q":{"type":"long","required":false}}}`, ""},
		{`{"name":"o","type":"object","properties":{"p":{"type":"long"}}}`, `{"name":"o","type":"object","properties":{"p":{"type":"long"},"q":{"type":"long"}}}`, "input o changes"},
		{`{"name":"o","type":"array","items":{"type":"integer"}}`, `{"name":"o","type":"array","items":{"type":"long"}}`, ""},
	} {
		err := Compatible(signatureOf(t, c.current, "", ""), signatureOf(t, c.next, "", ""))
		if c.want == "" {
			require.NoError(t, err, "%s → %s", c.current, c.next)
		} else {
			require.ErrorContains(t, err, c.want, "%s → %s", c.current, c.next)
		}
	}
	y := `{"name":"y","type":"double"}`
	require.NoError(t, Compatible(signatureOf(t, a, y, ""), signatureOf(t, a, y+`,{"name":"z","type":"long"}`, "")))
	require.NoError(t, Compatible(signatureOf(t, a, y, ""), signatureOf(t, a, "", "")), "not declared is not compared")
	require.ErrorContains(t, Compatible(signatureOf(t, a, y, ""), signatureOf(t, a, `{"name":"z","type":"double"}`, "")), "output y is gone")
	require.ErrorContains(t, Compatible(signatureOf(t, a, y, ""), signatureOf(t, a, `{"name":"y","type":"float"}`, "")), "output y changes")
	p := `{"name":"p","type":"integer","default":1}`
	require.NoError(t, Compatible(signatureOf(t, a, "", p), signatureOf(t, a, "", `{"name":"p","type":"long","default":1},{"name":"q","type":"long","default":1}`)))
	require.ErrorContains(t, Compatible(signatureOf(t, a, "", p), signatureOf(t, a, "", "")), "parameter p is gone")
	require.ErrorContains(t, Compatible(signatureOf(t, a, "", p), signatureOf(t, a, "", `{"name":"p","type":"integer","default":[1],"shape":[-1]}`)), "parameter p changes")
	require.NoError(t, Compatible(nil, signatureOf(t, a, "", "")))
	require.NoError(t, Compatible(nil, nil))
	require.ErrorContains(t, Compatible(signatureOf(t, a, "", ""), nil), "inputs are no longer declared")
}

func signatureOf(t *testing.T, inputs, outputs, params string) *Signature {
	t.Helper()
	texts := []string{inputs, outputs, params}
	for i := range texts {
		if texts[i] != "" {
			texts[i] = "[" + texts[i] + "]"
		}
	}
	s, err := ParseSignature(texts[0], texts[1], texts[2])
	require.NoError(t, err)
	return s
}
