# SPDX-License-Identifier: Apache-2.0
# lfm2: `make help` lists the targets. Needs the packages of `make deps`.
BUILD   ?= build
ifeq ($(origin CC),default)
CC := gcc
endif
PKGS    := openblas hdf5 jansson libpcre2-8 nettle zlib
CSTD    := -std=gnu17
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Werror
# The asan, tsan and fuzz targets set OPT and SAN, each with a BUILD folder of its own.
OPT     ?= -O2 -g
SAN     ?=
# No contraction and no fast-math: a sum means the same in every build.
FLAGS   := $(CSTD) $(OPT) -ffp-contract=off -pthread $(SAN)
# Records name FLAGS; what depends on where the source lies is not among them, and the paths in the binary are relative.
CFLAGS  += $(FLAGS) -ffile-prefix-map=$(CURDIR)=. $(WARN)
CPPFLAGS += -I. -D_GNU_SOURCE $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS  += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -pthread
LDFLAGS += $(SAN)
# Evaluations can be shared by the processes of mpirun; `make MPI=no` builds without it where it is installed.
MPI     ?= $(shell pkg-config --exists ompi-c 2>/dev/null && echo ompi-c || echo no)
ifneq ($(MPI),no)
LDLIBS  += $(shell pkg-config --libs $(MPI))
endif

LIB_SRC  := $(wildcard data/*.c reference/*.c optimized/*.c)
CMD_SRC  := lfm2.c $(wildcard bench/*.c eval/*.c eval/tasks/*.c)
# tests/ files without a Criterion include are shared with the program (kernel cases, checks).
TEST_SRC := $(wildcard tests/test_*.c)
FUZZ_SRC := $(wildcard tests/libfuzzer*.c)
SHIM_SRC := $(wildcard tests/shim_*.c)
CASE_SRC := $(filter-out $(TEST_SRC) $(FUZZ_SRC) $(SHIM_SRC),$(wildcard tests/*.c))
SHIMS    := $(patsubst tests/%.c,$(BUILD)/%.so,$(SHIM_SRC))
objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))

# What `make chart`, `make parity`, `make long` and `make fuzz` take.
MODEL        ?= lfm2-8b-a1b
BESIDE       ?= qwen3-1.7b
MODELS       ?= models
PYTHON       ?= python3
PEER         ?=
FUZZ_TIME    ?= 60
SOAK_HOURS   ?= 2
KILLS        ?= 50

# And `make quality`.
QUALITY_MODEL ?= data/tiny
QUALITY_TEXT  ?= data/tiny/heldout.txt
QUESTIONS     ?= data/tiny
CHUNKS        ?= 100
LIMIT         ?= 0

# And `make evals`: the folder with gsm8k/ and mmlu/ as published; empty: only the questions that are here.
DATA ?=
SPEED_MODELS ?= $(MODELS)/$(MODEL)-q4_0.gguf,$(MODELS)/$(BESIDE)-q4_0.gguf

.DEFAULT_GOAL := all
.PHONY: golden mutants all deps deps-dev test chart kernels limits parity quality schemes long evals eval-speed report check asan clang fuzz lint oracle
.PHONY: kills soak tsan valgrind cppcheck tidy coverage mutations reproducible dist clean help

# Without the libraries every file would fail with a screen of errors; say the one thing that helps.
ifneq ($(filter-out deps deps-dev clean help,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell pkg-config --exists $(PKGS) 2>/dev/null && echo found),found)
$(error libraries are missing: run `sh .ci/deps.sh` (or `make deps`) first)
endif
endif

all: lfm2 ## build ./lfm2

deps: ## install the Debian packages that building, testing and charting need
	@sh .ci/deps.sh

deps-dev: ## the same, and clang, clang-format, clang-tidy, valgrind, cppcheck, OpenMPI
	@sh .ci/deps.sh dev

test: $(BUILD)/lfm2-tests ## run all tests, the engines' once per instruction set of this CPU
	@sh tests/run.sh $(BUILD)

chart: lfm2 ## synthetic models, parity, speed of both models, RESULTS.md and plots (MODEL=, BESIDE=, MODELS=)
	@sh bench/chart.sh '$(MODELS)' '$(MODEL)' '$(BESIDE)'

kernels: lfm2 ## check every row of the kernel table against float64, then time it
	./lfm2 kernels --check --bench

limits: lfm2 ## measure this machine's read bandwidth and arithmetic peaks
	./lfm2 limits

parity: lfm2 ## compare the engines on MODEL and BESIDE, made when missing
	@sh bench/chart.sh --parity '$(MODELS)' '$(MODEL)' '$(BESIDE)'

quality: lfm2 ## what each recipe costs on a trained model (QUALITY_MODEL=, QUALITY_TEXT=, CHUNKS=100, LIMIT=0), then the pages
	@sh bench/quality.sh '$(QUALITY_MODEL)' '$(QUALITY_TEXT)' '$(QUESTIONS)' '$(CHUNKS)' '$(LIMIT)'

long: lfm2 ## speed of MODEL up to the whole 32k context, beside PEER=llama-bench when named, then the pages
	@sh bench/long.sh '$(MODELS)/$(MODEL)-q4_0.gguf' '$(PEER)'

schemes: lfm2 ## what int8 with a scale per 256, or bf16, would cost in accuracy (SPEED_MODELS=, QUALITY_MODEL=), then the pages
	@sh bench/schemes.sh '$(SPEED_MODELS)' '$(QUALITY_MODEL)' '$(QUALITY_TEXT)'

evals: lfm2 ## scores of the trained model, its own questions and 770 of DATA=, on both engines, then the pages
	@sh bench/evals.sh '$(DATA)'

eval-speed: lfm2 ## questions/s with and without shared examples (MMLU in DATA=), 8 sequences against one (SPEED_MODELS=)
	@sh bench/eval-speed.sh '$(DATA)' '$(SPEED_MODELS)'

report: lfm2 ## draw RESULTS.md and plots/ from bench/records/
	./lfm2 report

check: ## test, asan, lint: what must pass before a change is merged
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory lint
	@echo "make check: test, asan and lint passed"

# Fewer warnings here: gcc 12's instrumentation makes -Wconversion see conversions that the source does not have.
asan: ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer, in build-asan/ (WEAKER=no: this CPU's kernels only)
	@$(MAKE) --no-print-directory test BUILD=build-asan OPT='-O1 -g -fno-omit-frame-pointer' WARN='-Wall -Wextra -Werror' \
	    SAN='-fsanitize=address,undefined -fno-sanitize-recover=undefined'

clang: ## build everything with clang, in build-clang/ (warnings are errors)
	@$(MAKE) --no-print-directory build-clang/lfm2 build-clang/lfm2-tests CC=clang BUILD=build-clang

mutants: $(BUILD)/lfm2-tests ## the named mistakes of tests/mutations.tsv, put into a copy of the sources, must be seen
	@bash tests/mutate.sh $(BUILD) named

golden: ## record data/golden/ anew with Hugging Face Transformers (PYTHON=, see data/golden/requirements.txt)
	$(PYTHON) data/golden/make_golden.py

fuzz: ## feed damaged input to every reader for FUZZ_TIME seconds each (clang's libFuzzer), and add it to tests/fuzz.csv
	@$(MAKE) --no-print-directory build-fuzz/fuzz CC=clang BUILD=build-fuzz OPT='-O1 -g' \
	    SAN='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined'
	@bash tests/fuzz.sh run build-fuzz $(FUZZ_TIME) tests/fuzz.csv

tsan: ## threads of the program under ThreadSanitizer, in build-tsan/
	@$(MAKE) --no-print-directory build-tsan/lfm2 BUILD=build-tsan SAN=-fsanitize=thread OPT='-O1 -g' WARN='-Wall -Wextra -Werror'
	@bash tests/tsan.sh build-tsan/lfm2

valgrind: lfm2 ## a short run of each engine under valgrind's memcheck
	@sh tests/valgrind.sh ./lfm2

cppcheck: ## cppcheck's warnings, except those that tests/cppcheck.supp gives reasons for
	@cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -I. \
	    --suppressions-list=tests/cppcheck.supp data reference optimized bench eval lfm2.c && echo "make cppcheck: clean"

tidy: ## clang-tidy's checks, except those that .clang-tidy gives reasons against
	@clang-tidy --version >/dev/null
	@ls *.c $(foreach room,data reference optimized bench eval eval/tasks tests,$(room)/*.c) | \
	    xargs -P $$(nproc) -n 8 sh -c 'clang-tidy --quiet "$$@" -- $(CSTD) $(CPPFLAGS) 2>/dev/null' tidy && \
	    echo "make tidy: clean"

# Lines that a failed test did not reach, or that an older run did, would say nothing. The kernels' own tests walk all
# rows of the table; the engines' with weaker instruction sets are left out, since counters that threads share make
# them take longer than all else.
coverage: ## lines that the tests execute, into tests/coverage.csv; fails when data, reference or eval is below 85 %
	@find build-coverage -name '*.gcda' -delete 2>/dev/null || true
	@WEAKER=no $(MAKE) --no-print-directory test BUILD=build-coverage OPT='-O1 -g' SAN='--coverage -DCOVERAGE'
	@bash tests/coverage.sh build-coverage tests/coverage.csv

mutations: $(BUILD)/lfm2-tests ## all mistakes of tests/mutations.tsv; verdicts in tests/mutations.results
	@bash tests/mutate.sh $(BUILD)

soak: lfm2 ## two hours of evaluation in one process, memory and files watched (SOAK_HOURS=2), in build/soak/
	@bash tests/soak.sh ./lfm2 $(BUILD)/soak $(SOAK_HOURS)

reproducible: ## build what is committed in two clean clones and compare the bytes
	@sh tests/reproducible.sh

dist: ## the committed sources as lfm2-COMMIT.tar.gz, the same bytes for the same commit
	@c=$$(git rev-parse --short=12 HEAD) && git archive --format=tar --prefix=lfm2-$$c/ HEAD | gzip -9n >lfm2-$$c.tar.gz && \
	    echo "lfm2-$$c.tar.gz"

lint: $(BUILD)/liblfm2.a ## the house rules: includes, symbols, headers, tables, sizes, format
	@CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' bash tests/lint.sh $(BUILD)

oracle: $(BUILD)/lfm2-tests ## derive the evaluation fixtures with lm-eval, compare them, show the table (Python, package index)
	@mkdir -p $(BUILD)
	@sh tests/oracle/run.sh $(BUILD)

kills: $(BUILD)/lfm2-tests ## kill -9 an evaluation at KILLS=50 random moments, and ranks of mpirun: the same files
	@LFM2_KILLS=$(KILLS) $(BUILD)/lfm2-tests -j1 --filter '@(eval/killed*|eval_mpi/*)' --timeout 1800

clean: ## remove what make built (models/ stays)
	rm -rf $(BUILD) build build-* lfm2

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# The program beside the Makefile is always the one of the plain build.
lfm2: $(BUILD)/lfm2
	@cp -f $< $@

$(BUILD)/lfm2: $(call objects,$(CMD_SRC)) $(BUILD)/libcases.a $(BUILD)/liblfm2.a
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LDLIBS)

# Made anew each time: ar would keep the objects of deleted files.
$(BUILD)/liblfm2.a: $(call objects,$(LIB_SRC))
	@rm -f $@
	@ar rcs $@ $^

# The program takes from tests/ what it refers to (the kernels' cases), and no more.
$(BUILD)/libcases.a: $(call objects,$(CASE_SRC))
	@rm -f $@
	@ar rcs $@ $^

# Tests run the program and preload the shims: who builds the tests has both.
$(BUILD)/lfm2-tests: $(call objects,$(TEST_SRC) $(CASE_SRC) $(filter-out lfm2.c,$(CMD_SRC))) $(BUILD)/liblfm2.a \
    | $(BUILD)/lfm2 $(SHIMS)
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS) $^ -o $@ $(LDLIBS) -lcriterion

# Preloaded by tests; of no sanitizer, since it stands before their libraries.
$(BUILD)/shim_%.so: tests/shim_%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CPPFLAGS) $(CSTD) -O1 -g -fPIC -shared $(WARN) $< -o $@ -ldl

# One program for all fuzzers, with what they read and nothing else: a small one starts and counts faster.
$(BUILD)/fuzz: $(call objects,$(FUZZ_SRC) bench/base_file.c eval/extract.c eval/pystr.c) $(BUILD)/libcases.a $(BUILD)/liblfm2.a
	@echo "  LINK    $@"
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer $^ -o $@ $(LDLIBS)

ifneq ($(MPI),no)
$(BUILD)/eval/share.o: CPPFLAGS += -DHAVE_MPI $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(MPI)))
endif

# Records name the flags that their numbers were built with.
$(BUILD)/bench/machine.o: CPPFLAGS += -DBUILD_FLAGS='"$(FLAGS)"'

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC      $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

-include $(wildcard $(BUILD)/*.d $(BUILD)/*/*.d $(BUILD)/*/*/*.d)
