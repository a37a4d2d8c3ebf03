package mlflow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

func TestParseRef(t *testing.T) {
	cases := map[string]mlflow.Ref{
		"models:/fraud@champion":   {Kind: mlflow.KindAlias, Name: "fraud", Alias: "champion"},
		"models:/a b@c@champion":   {Kind: mlflow.KindAlias, Name: "a b@c", Alias: "champion"},
		"models:/fraud/3":          {Kind: mlflow.KindVersion, Name: "fraud", Version: "3"},
		"models:/fraud/latest":     {Kind: mlflow.KindLatest, Name: "fraud"},
		"models:/fraud/Production": {Kind: mlflow.KindStage, Name: "fraud", Stage: "Production"},
		"models:/m-12ab":           {Kind: mlflow.KindLoggedModel, ID: "m-12ab"},
		"runs:/abc/some/model":     {Kind: mlflow.KindRun, ID: "abc", Path: "some/model"},
		"some/folder":              {Kind: mlflow.KindFolder, Path: "some/folder"},
	}
	for text, want := range cases {
		got, err := mlflow.ParseRef(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
	got, err := mlflow.ParseRef("file:///srv/a%20model")
	require.NoError(t, err)
	require.Equal(t, mlflow.Ref{Kind: mlflow.KindFolder, Path: "/srv/a model"}, got)
}

func TestParseRefRefuses(t *testing.T) {
	for _, text := range []string{
		"", "models:", "models:/", "models:/fraud", "models:/@champion", "models:/fraud@", "models:/a/b/c",
		"models://host/fraud/1", "runs:/id", "runs:/id/../x", "runs:/id//etc", "s3://bucket/x", "file://host/x", "a\x00b",
	} {
		_, err := mlflow.ParseRef(text)
		require.ErrorIs(t, err, mlflow.ErrBadReference, text)
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"models:/a@b", "models:/a/3", "runs:/x/y", "file:/x", "x", "models:/m-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := mlflow.ParseRef(s)
		if err != nil {
			require.ErrorIs(t, err, mlflow.ErrBadReference)
			return
		}
		again, err := mlflow.ParseRef(r.String())
		require.NoError(t, err, r.String())
		require.Equal(t, r, again)
	})
}
