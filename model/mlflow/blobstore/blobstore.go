package blobstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore/address"
)

// Open opens the folder of an artifact URI. Without direct it fails with
// [mlflow.ErrNoAccess] when there are no credentials for the store; with it,
// it tries what can be had without.
func (c Config) Open(ctx context.Context, uri string, direct bool) (mlflow.Bucket, error) {
	a, err := address.Parse(uri)
	if err != nil {
		return nil, fmt.Errorf("%w: artifact URI: %w", mlflow.ErrArtifact, err)
	}
	f := &folder{at: a}
	switch a.Kind {
	case address.S3:
		err = c.openS3(ctx, f)
	case address.GCS:
		err = c.openGCS(ctx, f, direct)
	case address.Azure:
		err = c.openAzure(ctx, f)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// attempts bounds how often the clouds' libraries begin one request.
const attempts = 4

// folder is a model's folder in a bucket.
type folder struct {
	at     address.Address
	bucket *blob.Bucket
	// more completes a body with what a store tells beyond the common part.
	more func(r *blob.Reader, b *mlflow.Body)
	// noAccess says that an error means that another way may do better.
	noAccess func(error) bool
}

// Files lists all objects below the folder, with the checksums of the listing
// where they are of the whole content.
func (f *folder) Files(ctx context.Context, limit int) ([]mlflow.File, error) {
	var files []mlflow.File
	it := f.bucket.List(&blob.ListOptions{Prefix: f.at.Prefix()})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, f.failed(ctx, err)
		}
		name := strings.TrimPrefix(o.Key, f.at.Prefix())
		if strings.HasSuffix(name, "/") && o.Size == 0 || name == "" {
			continue // what consoles make to show a folder
		}
		if len(files) >= limit {
			return nil, fmt.Errorf("%w: more than %d files", mlflow.ErrArtifact, limit)
		}
		file := mlflow.File{Path: name, Size: o.Size}
		if f.at.Kind != address.S3 && len(o.MD5) == 16 { // S3's may be no MD5; Open sees it
			file.MD5 = hex.EncodeToString(o.MD5)
		}
		files = append(files, file)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: nothing at %s in %s", mlflow.ErrNotFound, f.at.Path, f.at.Bucket)
	}
	return files, nil
}

// Open reads an object from an offset on.
func (f *folder) Open(ctx context.Context, file mlflow.File, offset int64) (*mlflow.Body, error) {
	r, err := f.bucket.NewRangeReader(ctx, f.at.Prefix()+file.Path, offset, -1, nil)
	if err != nil {
		return nil, f.failed(ctx, err)
	}
	b := &mlflow.Body{ReadCloser: r, Offset: offset, Size: r.Size(), MD5: file.MD5}
	b.ETag = r.ModTime().UTC().String()
	f.more(r, b)
	return b, nil
}

// Put writes an object.
func (f *folder) Put(ctx context.Context, name string, size int64, content io.ReadSeeker) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// Not by a Writer: Azure's may panic in Close when an upload fails.
	exact := &exactly{Reader: content, left: size}
	err := f.bucket.Upload(ctx, f.at.Prefix()+name, exact, &blob.WriterOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return f.failed(ctx, err)
	}
	return nil
}

// exactly is a file of a known size, and fails when that has changed.
type exactly struct {
	io.Reader
	left int64
}

var errChanged = errors.New("the file has changed meanwhile")

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if e.left -= int64(n); e.left < 0 || errors.Is(err, io.EOF) && e.left != 0 {
		return 0, errChanged
	}
	return n, err
}

// Close closes the connection.
func (f *folder) Close() error { return f.bucket.Close() }

// failed sorts a store's error.
func (f *folder) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// A presigned address or a signature may be in the text of a URL.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s: %w", u.Op, u.Err)
	}
	_, network := errors.AsType[net.Error](err)
	code := gcerrors.Code(err)
	switch {
	case code == gcerrors.PermissionDenied, f.noAccess(err), network:
		return fmt.Errorf("%w: %s: %w", mlflow.ErrNoAccess, f.at.Bucket, err)
	case code == gcerrors.NotFound:
		return fmt.Errorf("%w: in %s: %w", mlflow.ErrNotFound, f.at.Bucket, err)
	}
	return fmt.Errorf("%s: %w", f.at.Bucket, err)
}
