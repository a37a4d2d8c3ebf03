package shadow

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

func floats(name string, values ...float32) model.Tensor {
	return model.Tensor{Name: name, DType: model.Float32, Shape: []int64{int64(len(values)), 1}, Data: model.BytesOf(values)}
}

func ints(name string, values ...int64) model.Tensor {
	return model.Tensor{Name: name, DType: model.Int64, Shape: []int64{int64(len(values)), 1}, Data: model.BytesOf(values)}
}

func texts(name string, values ...string) model.Tensor {
	return model.Tensor{Name: name, DType: model.String, Shape: []int64{int64(len(values)), 1}, Strings: values}
}

func TestCompareTensors(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	labelled := floats("p", 1)
	labelled.Labels = []string{"a"}
	wide := model.Tensor{Name: "y", DType: model.Float64, Shape: []int64{2, 1}, Data: model.BytesOf([]float64{1, 2})}
	row := floats("y", 1, 2)
	row.Shape = []int64{1, 2}
	for name, c := range map[string]struct {
		got, given    []model.Tensor
		differs       bool
		numbers       int
		largest, mean float64
	}{
		"same":                {[]model.Tensor{floats("y", 1, 2)}, []model.Tensor{floats("y", 1, 2)}, false, 2, 0, 0},
		"within":              {[]model.Tensor{floats("y", 100000)}, []model.Tensor{floats("y", 100000.5)}, false, 1, .5 / 100000.5, .5},
		"beyond":              {[]model.Tensor{floats("y", 1, 3)}, []model.Tensor{floats("y", 1, 4)}, true, 2, .25, .5},
		"sign":                {[]model.Tensor{floats("y", -1)}, []model.Tensor{floats("y", 1)}, true, 1, 2, 2},
		"both zero":           {[]model.Tensor{floats("y", 0)}, []model.Tensor{floats("y", float32(math.Copysign(0, -1)))}, false, 1, 0, 0},
		"next to zero":        {[]model.Tensor{floats("y", 1e-9)}, []model.Tensor{floats("y", 0)}, false, 1, 1, float64(float32(1e-9))},
		"not a number":        {[]model.Tensor{floats("y", nan, inf)}, []model.Tensor{floats("y", nan, inf)}, false, 2, 0, 0},
		"one not a number":    {[]model.Tensor{floats("y", nan, 3)}, []model.Tensor{floats("y", 1, 1)}, true, 2, 2, 2},
		"infinity":            {[]model.Tensor{floats("y", inf)}, []model.Tensor{floats("y", 1)}, true, 1, 2, 0},
		"whole":               {[]model.Tensor{ints("y", 1000000)}, []model.Tensor{ints("y", 1000001)}, true, 1, 1 / 1000001.0, 1},
		"whole, beyond 2^53":  {[]model.Tensor{ints("y", 1<<53)}, []model.Tensor{ints("y", 1<<53+1)}, true, 1, 0, 0},
		"other type":          {[]model.Tensor{wide}, []model.Tensor{floats("y", 1, 2)}, false, 2, 0, 0},
		"whole for float":     {[]model.Tensor{ints("y", 1, 2)}, []model.Tensor{floats("y", 1, 2)}, false, 2, 0, 0},
		"shape":               {[]model.Tensor{row}, []model.Tensor{floats("y", 1, 2)}, true, 0, 0, 0},
		"labels":              {[]model.Tensor{labelled}, []model.Tensor{floats("p", 1)}, true, 0, 0, 0},
		"second output":       {[]model.Tensor{floats("y", 1), floats("z", 2)}, []model.Tensor{floats("y", 1), floats("z", 1)}, true, 2, .5, .5},
		"no rows, one answer": {[]model.Tensor{floats("y")}, []model.Tensor{floats("y")}, false, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := compare(c.got, c.given, []byte(`1`), []byte(`2`), 1e-5)
			require.Equal(t, c.differs, d.differs)
			require.Equal(t, c.numbers, d.numbers)
			require.InDelta(t, c.largest, d.largest, 1e-12)
			require.InDelta(t, c.mean, d.mean(), 1e-9)
		})
	}
}

func TestCompareValues(t *testing.T) {
	label := []model.Tensor{texts("label", "a")}
	for name, c := range map[string]struct {
		got, given string
		differs    bool
		numbers    int
		largest    float64
	}{
		"same text":        {`{"predictions":["a"]}`, `{"predictions": ["a"]}`, false, 0, 0},
		"other text":       {`{"predictions":["a"]}`, `{"predictions":["b"]}`, true, 0, 0},
		"text and number":  {`{"predictions":[{"label":"a","p":0.5}]}`, `{"predictions":[{"label":"a","p":0.500001}]}`, false, 1, .000001 / .500001},
		"number":           {`[0.5, 1.0]`, `[0.5, 2.0]`, true, 2, .5},
		"whole":            {`[1000000]`, `[1000001]`, true, 1, 1 / 1000001.0},
		"written as float": {`[1000000.0]`, `[1000001]`, false, 1, 1 / 1000001.0},
		"huge whole":       {`[9007199254740993]`, `[9007199254740992]`, true, 1, 0},
		"beyond float64":   {`[1e999]`, `[1e999]`, false, 0, 0},
		"longer":           {`[1]`, `[1, 2]`, true, 0, 0},
		"other key":        {`{"a":1}`, `{"b":1}`, true, 0, 0},
		"one key more":     {`{"a":1}`, `{"a":1,"b":2}`, true, 0, 0},
		"list for text":    {`[["a"]]`, `["a"]`, true, 0, 0},
		"text for number":  {`["1"]`, `[1]`, true, 0, 0},
		"null":             {`[null, true]`, `[null, false]`, true, 0, 0},
		"V2 names itself": {
			`{"model_name":"m","model_version":"2","id":"7","outputs":[{"data":[1.5]}]}`,
			`{"model_name":"m","model_version":"1","outputs":[{"data":[1.5]}]}`, false, 1, 0,
		},
		"a model's own id": {`{"predictions":{"id":"7"}}`, `{"predictions":{"id":"8"}}`, true, 0, 0},
		"bare NaN":         {`[NaN]`, `[NaN]`, false, 0, 0},
		"bare NaN, other":  {`[NaN]`, `[1]`, true, 0, 0},
		"two values":       {`1 2`, `1 2`, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := compare(label, label, []byte(c.got), []byte(c.given), 1e-5)
			require.Equal(t, c.differs, d.differs)
			require.Equal(t, c.numbers, d.numbers)
			require.InDelta(t, c.largest, d.largest, 1e-12)
		})
	}
	// Outputs of other names are compared as they were answered.
	require.True(t, compare([]model.Tensor{floats("y", 1)}, []model.Tensor{floats("z", 1)}, []byte(`{"y":1}`), []byte(`{"z":1}`), 1e-5).differs)
	require.False(t, compare([]model.Tensor{floats("y", 1)}, []model.Tensor{floats("z", 1)}, []byte(`[1]`), []byte(`[1]`), 1e-5).differs)
}

// What a model answers with is not ours: whatever it is, it is equal to itself.
func FuzzCompareValues(f *testing.F) {
	f.Add([]byte(`{"predictions":[1.5,"a",null]}`), []byte(`{"predictions":[1,"b",{}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		require.False(t, compareValues(a, a, 1e-5).differs)
		one, other := compareValues(a, b, 0), compareValues(b, a, 0)
		require.Equal(t, one.differs, other.differs)
		require.False(t, math.IsNaN(one.largest) || math.IsNaN(one.mean()) || math.IsInf(one.mean(), 0))
	})
}
