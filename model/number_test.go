package model

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// sameFloat compares the scanner with the standard library in every bit.
func sameFloat(t *testing.T, text string) {
	t.Helper()
	s := scanner{buf: []byte(text)}
	got, whole, ok := s.float()
	if !ok {
		require.Zero(t, s.pos, text)
		return
	}
	require.Equal(t, len(text), s.pos, text)
	want, err := strconv.ParseFloat(text, 64)
	if err != nil {
		require.ErrorIs(t, err, strconv.ErrRange, text)
	}
	if whole && want == 0 {
		want = 0 // -0 is an integer
	}
	require.Equal(t, math.Float64bits(want), math.Float64bits(got), text)
	require.Equal(t, math.Float32bits(float32(want)), math.Float32bits(float32(got)), text)
}

func TestFloatIsThatOfTheStandardLibrary(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "-0.0", "1", "1.5", "-2.5e3", "1E+5", "9007199254740993", "9007199254740993.0", "0.1", "1e22", "1e23",
		"8.5e-23", "123456789012345678", "1234567890123456789.0", "12345678901234567890.5", "0.00000000000000000001",
		"1e999", "-1e999", "1e-999", "4.9e-324", "2.4703282292062327e-324", "2.2250738585072011e-308", "1.7976931348623157e308",
		"0.5000000000000000277", "0.50000002980232238", "1.00000005960464477539", "9999999999999999999e-19", "1e99999999999",
		"7.1804e-19", "9223372036854775807.0", "18446744073709551615.0e-10",
	} {
		sameFloat(t, text)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 300_000 {
		var text []byte
		switch r.IntN(4) {
		case 0: // as clients write them
			text = strconv.AppendFloat(nil, r.NormFloat64()*math.Pow10(r.IntN(12)-6), 'g', -1, 64)
		case 1: // any
			text = strconv.AppendFloat(nil, math.Float64frombits(r.Uint64()), 'e', r.IntN(20), 64)
		case 2: // halfway between two float32
			f := math.Float32frombits(r.Uint32())
			next := math.Nextafter32(f, 2*f)
			text = strconv.AppendFloat(nil, (float64(f)+float64(next))/2, 'f', -1, 64)
		default: // digits and a point
			text = strconv.AppendUint(nil, r.Uint64(), 10)
			text = append(append([]byte("0."), text...), "e"+strconv.Itoa(r.IntN(40)-20)...)
		}
		if json.Valid(text) {
			sameFloat(t, string(text))
		}
	}
}

func TestNoFloat(t *testing.T) {
	for _, text := range []string{"", "-", "+1", ".5", "1.", "1e", "1e+", "01", "-01", "00", "NaN", "Infinity", "-Infinity", "x", "1234567890123456789"} {
		s := scanner{buf: []byte(text)}
		_, _, ok := s.float()
		require.False(t, ok, text)
		_, ok = s.whole()
		require.False(t, ok, text)
	}
	for _, text := range []string{"1.0", "1e5", "1E5"} {
		s := scanner{buf: []byte(text)}
		_, ok := s.whole()
		require.False(t, ok, text)
	}
	s := scanner{buf: []byte("-123456789012345678")}
	n, ok := s.whole()
	require.True(t, ok)
	require.Equal(t, int64(-123456789012345678), n)
}

func FuzzFloat(f *testing.F) {
	f.Add("1.5")
	f.Add("123456789012345678e-19")
	f.Add("-0.1e-7")
	f.Fuzz(func(t *testing.T, text string) {
		if json.Valid([]byte(text)) && (text[0] == '-' || text[0]-'0' <= 9) && text[len(text)-1] > ' ' {
			sameFloat(t, text)
		}
	})
}

// FuzzScanner holds the parser against encoding/json: what is JSON to one is so
// to the other, with the same values. The parser takes more: bare NaN and
// infinity, a byte order mark; and less: invalid UTF-8, deep nesting.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5,-3e4,"x\u00e9\n",true,false,null,{}],"a":2}`, `[[],[[]],{"":""}]`, "\"\x7f\"", `"\ud83d\ude00\ud83d"`, `[1,]`, `{"a"}`,
		`[NaN]`, `-Infinity`, `[12345678901234567890,123456789012345678901]`, "\ufeff1", "[\"\t\"]", ` 1 `, `01`, `1.e5`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, bad := parseJSON(text, 1<<16)
		var want any
		err := json.Unmarshal(text, &want)
		if bad == nil && err != nil {
			require.True(t, v.odd() || text[0] == 0xef, "%q: %v", text, err)
			return
		}
		if bad != nil && err == nil {
			require.Regexp(t, "not UTF-8|nested deeper|too many values", bad.Message, "%q", text)
			return
		}
		if err == nil {
			require.Equal(t, want, v.plainGo(), "%q", text)
		}
	})
}

// odd says whether there is a number that JSON has not, or one that Go's
// float64 has not.
func (v *value) odd() bool {
	if v.kind == number && v.float()-v.float() != 0 || v.kind == huge {
		return true
	}
	for i := range v.items {
		if v.items[i].odd() {
			return true
		}
	}
	return false
}

// plainGo is the value as encoding/json has it.
func (v *value) plainGo() any {
	switch v.kind { //nolint:exhaustive // the others are numbers
	case none:
		return nil
	case boolean:
		return v.bits == 1
	case text:
		return v.text
	case list:
		all := []any{}
		for i := range v.items {
			all = append(all, v.items[i].plainGo())
		}
		return all
	case object:
		all := map[string]any{}
		for i := 0; i < len(v.items); i += 2 {
			all[v.items[i].text] = v.items[i+1].plainGo()
		}
		return all
	default:
		f, _ := v.toFloat()
		return f
	}
}
