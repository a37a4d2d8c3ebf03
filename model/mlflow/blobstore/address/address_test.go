package address_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow/blobstore/address"
)

func TestParse(t *testing.T) {
	cases := map[string]address.Address{
		"s3://bucket/a/b":    {Kind: address.S3, Bucket: "bucket", Path: "a/b"},
		"s3://bucket/a b%20": {Kind: address.S3, Bucket: "bucket", Path: "a b%20"},
		"s3://bucket":        {Kind: address.S3, Bucket: "bucket"},
		"gs://bucket/a/":     {Kind: address.GCS, Bucket: "bucket", Path: "a"},
		"wasbs://box@acc.blob.core.windows.net/a": {
			Kind: address.Azure, Bucket: "box", Account: "acc", Host: "acc.blob.core.windows.net", Path: "a",
		},
		"abfss://fs@acc.dfs.core.windows.net/a%20b/c": {
			Kind: address.Azure, Bucket: "fs", Account: "acc", Host: "acc.blob.core.windows.net", Path: "a b/c",
		},
		"abfss://fs@acc.privatelink.dfs.core.windows.net/a": {
			Kind: address.Azure, Bucket: "fs", Account: "acc", Host: "acc.privatelink.blob.core.windows.net", Path: "a",
		},
		"abfss://fs@acc.dfs.core.chinacloudapi.cn/a": {
			Kind: address.Azure, Bucket: "fs", Account: "acc", Host: "acc.blob.core.chinacloudapi.cn", Path: "a",
		},
	}
	for uri, want := range cases {
		got, err := address.Parse(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, got, uri)
	}
	for _, uri := range []string{
		"", "s3:", "s3:///a", "s3://b/../c", "s3://b/a//c", `s3://b/a\b`, "s3://b/a?x=1", "s3://b/a#x", "s3://u@b/a", "gs://", "ftp://b/a",
		"wasbs://acc.blob.core.windows.net/a", "wasbs://box@acc/a", "abfss://fs@/a", "abfss://fs@acc.dfs.core.windows.net/%zz",
		"abfss://fs@acc.dfs.core.windows.net/%2e%2e/a", "abfss://fs@evil.com:80@acc.dfs.core.windows.net/a", "s3://b/a\x00",
	} {
		_, err := address.Parse(uri)
		require.Error(t, err, uri)
	}
}

// FuzzParse: what is taken names a bucket, and a path that stays below it.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"s3://b/a", "gs://b/a/b", "wasbs://c@a.blob.core.windows.net/p", "abfss://c@a.dfs.core.windows.net/p%20q", "abfss://c@a.dfs.x/%2f..",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		a, err := address.Parse(uri)
		if err != nil {
			return
		}
		require.NotEmpty(t, a.Bucket)
		require.NotContains(t, a.Bucket, "/")
		require.Equal(t, a.Kind == address.Azure, a.Account != "" && strings.HasPrefix(a.Host, a.Account+"."))
		require.NotContains(t, a.Host, "/")
		require.False(t, strings.HasPrefix(a.Path, "/") || strings.HasSuffix(a.Path, "/"))
		for seg := range strings.SplitSeq(a.Path, "/") {
			require.NotEqual(t, "..", seg)
		}
	})
}
