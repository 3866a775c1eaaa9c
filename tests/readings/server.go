// How Go reads a path: net/http's ServeMux, which redirects to the path that it has cleaned, and a handler that cleans by itself.
package main

import (
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
)

func first(p string) string {
	return strings.SplitN(strings.TrimLeft(p, "/"), "/", 2)[0]
}

func main() {
	mux := http.NewServeMux()
	for _, name := range []string{"public", "admin"} {
		say := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "reads:"+name) }
		mux.HandleFunc("/"+name, say)
		mux.HandleFunc("/"+name+"/", say)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("PORT", listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Reading") == "mux" {
			mux.ServeHTTP(w, r)
		} else {
			fmt.Fprint(w, "reads:"+first(path.Clean(r.URL.Path)))
		}
	})))
}
