package blobstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/millrace/millrace/model/mlflow"
)

// openGCS opens a bucket of Google, or of the emulator. A bucket that is open to
// all is read without credentials when it was asked for.
func (c Config) openGCS(ctx context.Context, f *folder, direct bool) error {
	var opts gcsblob.Options
	client := gcp.NewAnonymousHTTPClient(gcp.DefaultTransport())
	if c.GCSEndpoint != "" {
		host := c.GCSEndpoint
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		opts.ClientOptions = append(opts.ClientOptions, option.WithEndpoint(strings.TrimRight(host, "/")+"/storage/v1/"))
	} else {
		search, cancel := context.WithTimeout(ctx, credentialsTimeout)
		defer cancel()
		creds, err := gcp.DefaultCredentials(search)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			if client, err = gcp.NewHTTPClient(gcp.DefaultTransport(), creds.TokenSource); err != nil {
				return fmt.Errorf("%w: %w", mlflow.ErrNoAccess, err)
			}
		case !direct:
			return fmt.Errorf("%w: no Google credentials (GOOGLE_APPLICATION_CREDENTIALS, or a service account): %w", mlflow.ErrNoAccess, err)
		}
	}
	f.more, f.noAccess = moreOfGCS, gcsNoAccess
	var err error
	if f.bucket, err = gcsblob.OpenBucket(ctx, client, f.at.Bucket, &opts); err != nil {
		return err
	}
	var inner *storage.Client
	if f.bucket.As(&inner) { // else it tries for as long as ctx lets it
		inner.SetRetry(storage.WithMaxAttempts(attempts))
	}
	return nil
}

// moreOfGCS takes the generation, which is another for each content. The
// library checks the CRC32C of what it reads as a whole.
func moreOfGCS(r *blob.Reader, b *mlflow.Body) {
	var in *storage.Reader
	if r.As(&in) && in != nil {
		b.ETag = strconv.FormatInt(in.Attrs.Generation, 10)
	}
}

func gcsNoAccess(err error) bool {
	var e *googleapi.Error
	if errors.As(err, &e) && (e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden) {
		return true
	}
	var token *oauth2.RetrieveError
	return errors.As(err, &token) || errors.Is(err, storage.ErrBucketNotExist)
}
