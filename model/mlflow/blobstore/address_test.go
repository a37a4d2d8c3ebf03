package blobstore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	cases := map[string]address{
		"s3://bucket/a/b":    {kind: kindS3, bucket: "bucket", path: "a/b"},
		"s3://bucket/a b%20": {kind: kindS3, bucket: "bucket", path: "a b%20"},
		"s3://bucket":        {kind: kindS3, bucket: "bucket"},
		"gs://bucket/a/":     {kind: kindGCS, bucket: "bucket", path: "a"},
		"wasbs://box@acc.blob.core.windows.net/a": {
			kind: kindAzure, bucket: "box", account: "acc", host: "acc.blob.core.windows.net", path: "a",
		},
		"abfss://fs@acc.dfs.core.windows.net/a%20b/c": {
			kind: kindAzure, bucket: "fs", account: "acc", host: "acc.blob.core.windows.net", path: "a b/c",
		},
		"abfss://fs@acc.privatelink.dfs.core.windows.net/a": {
			kind: kindAzure, bucket: "fs", account: "acc", host: "acc.privatelink.blob.core.windows.net", path: "a",
		},
		"abfss://fs@acc.dfs.core.chinacloudapi.cn/a": {
			kind: kindAzure, bucket: "fs", account: "acc", host: "acc.blob.core.chinacloudapi.cn", path: "a",
		},
	}
	for uri, want := range cases {
		got, err := parse(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, got, uri)
	}
	for _, uri := range []string{
		"", "s3:", "s3:///a", "s3://b/../c", "s3://b/a//c", `s3://b/a\b`, "s3://b/a?x=1", "s3://b/a#x", "s3://u@b/a", "gs://", "ftp://b/a",
		"wasbs://acc.blob.core.windows.net/a", "wasbs://box@acc/a", "abfss://fs@/a", "abfss://fs@acc.dfs.core.windows.net/%zz",
		"abfss://fs@acc.dfs.core.windows.net/%2e%2e/a", "abfss://fs@evil.com:80@acc.dfs.core.windows.net/a", "s3://b/a\x00",
	} {
		_, err := parse(uri)
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
		a, err := parse(uri)
		if err != nil {
			return
		}
		require.NotEmpty(t, a.bucket)
		require.NotContains(t, a.bucket, "/")
		require.Equal(t, a.kind == kindAzure, a.account != "" && strings.HasPrefix(a.host, a.account+"."))
		require.NotContains(t, a.host, "/")
		require.False(t, strings.HasPrefix(a.path, "/") || strings.HasSuffix(a.path, "/"))
		for seg := range strings.SplitSeq(a.path, "/") {
			require.NotEqual(t, "..", seg)
		}
	})
}
