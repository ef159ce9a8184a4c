# A thin front to Meson: what people type.  Everything real stands in meson.build and tools/.
#
# SPDX-License-Identifier: MIT

PREFIX ?=
FUZZ_SECONDS ?= 60
ARGS ?=

# Told when a recipe runs, because install-needs may have just brought them.  Debian's own come first:
# another python3 or meson in PATH may lack what they need.
MESON = $$(test -x /usr/bin/meson && echo /usr/bin/meson || echo meson)
PYTHON = $$(test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
SOURCES = $$(find include src tool examples tests bench -name '*.[ch]' -o -path 'bench/*.cpp' | sort)

.PHONY: help setup build run bench test test-all fuzz lint format install uninstall clean

help:
	@echo 'make run        build, then show every transport alive: outlet demo (ARGS=... are passed on)'
	@echo 'make build      build the command build/outlet and the library'
	@echo 'make bench      measure against bare loops and other libraries (ARGS=--quick, --list)'
	@echo 'make test       every test: plain, address and undefined, thread, a little fuzzing'
	@echo 'make test-all   also clang, valgrind, long fuzzing, clang-tidy, coverage'
	@echo 'make fuzz       search with every fuzz target, FUZZ_SECONDS=$(FUZZ_SECONDS) each'
	@echo 'make lint       the project rules, the format, cppcheck'
	@echo 'make format     lay out the code as .clang-format says'
	@echo 'make install    to PREFIX (/usr/local), under DESTDIR when it is set'
	@echo 'make uninstall  remove what was installed'
	@echo 'make clean      remove what was built'

build: setup
	@$(MESON) compile -C build

run: setup
	@ninja -C build outlet
	@exec build/outlet demo $(ARGS)

setup:
	@tools/install-needs build
	@test -f build/build.ninja || $(MESON) setup build

# The other libraries are welcome and not needed: what is missing is skipped by name.
bench:
	@tools/install-needs build
	@tools/install-needs bench || true
	@$(MESON) setup build-bench $$(test -f build-bench/build.ninja && echo --reconfigure) \
		--buildtype=release -Dbench=true -Dtests=false -Dtool=true -Dexamples=false >/dev/null
	@ninja -C build-bench --quiet
	@$(PYTHON) bench/run.py --build build-bench/bench --out build-bench $(ARGS)

test:
	@tools/install-needs test
	@$(PYTHON) tools/test.py quick

test-all:
	@tools/install-needs all
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) tools/test.py all

fuzz:
	@tools/install-needs test
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) tools/test.py fuzz

lint:
	@tools/install-needs lint
	@$(PYTHON) tools/tidy.py
	@clang-format --dry-run -Werror $(SOURCES)
	@cppcheck --quiet --std=c11 --error-exitcode=1 --inline-suppr --suppressions-list=tools/cppcheck.txt \
		--enable=warning,portability -Iinclude -Isrc src tool examples

format:
	@tools/install-needs lint
	@clang-format -i $(SOURCES)
	@$(PYTHON) tools/tidy.py --wrap

install: build
	@$(if $(PREFIX),$(MESON) configure build -Dprefix='$(abspath $(PREFIX))')
	@$(MESON) install -C build
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

uninstall:
	@ninja -C build uninstall

clean:
	@rm -rf build build-bench build-test
