package mlflow

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// openHTTP gets a file over HTTP, from an offset on where the server can and
// the content is known to be the same. k is the call without what that needs.
func (c *Client) openHTTP(ctx context.Context, k call, f File, offset int64) (*Body, error) {
	// Not compressed: sizes and ranges are of the file's bytes, and a small body
	// cannot become a large file.
	header := map[string]string{"Accept-Encoding": "identity"}
	maps.Copy(header, k.header)
	if offset > 0 && strings.HasPrefix(f.ETag, `"`) {
		header["Range"] = "bytes=" + strconv.FormatInt(offset, 10) + "-"
		header["If-Range"] = f.ETag
	}
	k.method, k.header, k.retry5 = http.MethodGet, header, 2
	resp, err := c.do(ctx, k)
	if err != nil {
		return nil, err
	}
	b, err := httpBody(resp)
	if err != nil {
		_ = resp.Body.Close() // nothing is read from it
		return nil, fmt.Errorf("%w: %w", ErrArtifact, err)
	}
	return b, nil
}

// httpBody reads the headers of RFC 9110 that tell what a body is.
func httpBody(resp *http.Response) (*Body, error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return nil, fmt.Errorf("the server sends it in %s encoding, for which it was not asked", enc)
	}
	b := &Body{ReadCloser: resp.Body, Size: resp.ContentLength, ETag: resp.Header.Get("ETag")}
	if resp.StatusCode == http.StatusPartialContent {
		text := resp.Header.Get("Content-Range") // bytes 5-9/10
		var last int64
		if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &b.Offset, &last, &b.Size); err != nil || b.Offset < 0 || last != b.Size-1 {
			return nil, fmt.Errorf("Content-Range %q is not the rest of a file", text)
		}
	} else if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answers %s", resp.Status)
	}
	b.MD5 = headerMD5(resp.Header, resp.StatusCode == http.StatusPartialContent)
	return b, nil
}

// headerMD5 is the checksum of a whole file where an object store gives one:
// Google's x-goog-hash, Azure's x-ms-blob-content-md5, S3's ETag unless it was
// uploaded in parts or encrypted with a key of its own, and Content-MD5.
func headerMD5(h http.Header, partial bool) string {
	for _, line := range h.Values("X-Goog-Hash") {
		for part := range strings.SplitSeq(line, ",") {
			if text, ok := strings.CutPrefix(strings.TrimSpace(part), "md5="); ok {
				return hexMD5(text)
			}
		}
	}
	if text := h.Get("X-Ms-Blob-Content-Md5"); text != "" {
		return hexMD5(text)
	}
	if text := h.Get("Content-Md5"); text != "" && !partial {
		return hexMD5(text)
	}
	if h.Get("X-Amz-Request-Id") != "" && strings.TrimPrefix(h.Get("X-Amz-Server-Side-Encryption"), "AES256") == "" &&
		h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") == "" {
		return ETagMD5(h.Get("ETag"))
	}
	return ""
}

func hexMD5(base string) string {
	sum, err := base64.StdEncoding.DecodeString(base)
	if err != nil || len(sum) != 16 {
		return ""
	}
	return hex.EncodeToString(sum)
}

// ETagMD5 is the MD5 that S3 puts into the ETag of an object that was uploaded
// as one, "" for any other.
func ETagMD5(etag string) string {
	text := strings.ToLower(strings.Trim(etag, `"`))
	if sum, err := hex.DecodeString(text); err != nil || len(sum) != 16 {
		return ""
	}
	return text
}
