package remote

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseRef(t *testing.T) {
	for text, want := range map[string]struct{ base, model, version, text string }{
		"v2+http://triton:8000/resnet":                           {"http://triton:8000", "resnet", "", ""},
		"v2+http://triton:8000/resnet/":                          {"http://triton:8000", "resnet", "", "v2+http://triton:8000/resnet"},
		"v2+https://triton/resnet/3":                             {"https://triton", "resnet", "3", ""},
		"v2+http://h/v2/models/resnet":                           {"http://h", "resnet", "", "v2+http://h/resnet"},
		"v2+http://h/v2/models/resnet/versions/3":                {"http://h", "resnet", "3", "v2+http://h/resnet/3"},
		"v2+http://h/a/b/v2/models/resnet":                       {"http://h/a/b", "resnet", "", ""},
		"v2+http://h/a/b/v2/models/resnet/versions/v1":           {"http://h/a/b", "resnet", "v1", ""},
		"v2+http://user:secret@h/resnet":                         {"http://h", "resnet", "", "v2+http://h/resnet"},
		"v2+http://h/my%20model%2Fx":                             {"http://h", "my model/x", "", ""},
		"v2+http://[::1]:8000/m":                                 {"http://[::1]:8000", "m", "", ""},
		"mlflow+http://scorer:5001":                              {"http://scorer:5001", "", "", ""},
		"mlflow+http://scorer:5001/":                             {"http://scorer:5001", "", "", "mlflow+http://scorer:5001"},
		"mlflow+https://token@scorer/models/fraud":               {"https://scorer/models/fraud", "", "", "mlflow+https://scorer/models/fraud"},
		"mlflow+https://scorer/models/fraud/invocations":         {"https://scorer/models/fraud", "", "", "mlflow+https://scorer/models/fraud"},
		"v2+https://host.example/prefix/v2/models/v2/versions/2": {"https://host.example/prefix", "v2", "2", ""},
	} {
		r, err := ParseRef(text)
		require.NoError(t, err, text)
		require.Equal(t, want.base, r.base.String(), text)
		require.Equal(t, want.model, r.Model, text)
		require.Equal(t, want.version, r.Version, text)
		if want.text == "" {
			want.text = text
		}
		require.Equal(t, want.text, r.String())
	}
}

func TestParseRefRefuses(t *testing.T) {
	for _, text := range []string{
		"", "models:/x@y", "v2", "v2+", "v2+ftp://h/m", "v2+file:///etc/passwd", "v2+http:///m", "v2+http://h", "v2+http://h/",
		"v2+http://h/a/b/c", "v2+http://h/m?x=1", "v2+http://h/m?", "v2+http://h/m#f", "v2+http://h/../m", "v2+http://h/%2e%2e/m", "v2+http://h//m",
		"v2+http://h/m%0a", "v2+http:m", "v3+http://h/m", "mlflow+http://", "mlflow+grpc://h", "v2+http://h:port/m",
		"v2+http://h/p/v2/models/", "v2+http://h/v2/models/m/versions", "v2+http://h/v2/models/m/versions/3/infer",
	} {
		_, err := ParseRef(text)
		require.ErrorIs(t, err, ErrBadReference, text)
	}
	_, err := ParseRef("v2+http://user:pass word@h/m")
	require.ErrorIs(t, err, ErrBadReference)
	require.NotContains(t, err.Error(), "pass")
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"v2+http://u:p@h:1/m/2", "mlflow+https://h/p/invocations", "v2+http://h/p/v2/models/m/versions/1", "v2+http://h/%20"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRef(s)
		if err != nil {
			return
		}
		again, err := ParseRef(r.String())
		require.NoError(t, err)
		r.user = nil
		require.Equal(t, r, again)
	})
}
