package page

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// Handle adds the pages: / and /docs, and what they are made of below /ui/.
func Handle(mux *http.ServeMux) {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // embedded
	}
	mux.Handle("GET /{$}", file(files, "pool.html"))
	mux.Handle("GET /docs", file(files, "docs.html"))
	mux.HandleFunc("GET /ui/{name}", func(w http.ResponseWriter, r *http.Request) {
		file(files, path.Base(r.PathValue("name"))).ServeHTTP(w, r)
	})
}

// file serves one of the files, allowed to ask nobody but this gateway.
func file(files fs.FS, name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		switch {
		case strings.HasSuffix(name, ".html"):
			h.Set("Content-Type", "text/html; charset=utf-8")
		case strings.HasSuffix(name, ".js"):
			h.Set("Content-Type", "text/javascript; charset=utf-8")
		case strings.HasSuffix(name, ".css"):
			h.Set("Content-Type", "text/css; charset=utf-8")
		}
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // a newer gateway has newer pages
		_, _ = w.Write(text)               //nolint:gosec // one of the files above; a client that does not take it is no error of ours
	})
}
