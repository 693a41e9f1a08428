// coldpress bench: compare solvers on captured layer problems, on a whole model, and with this
// machine's limits.
#include "bench.h"

namespace coldpress::cli {

void add_bench(CLI::App& app, Run& run) {
  CLI::App* bench =
      add_verb(app, "bench", "Compare solvers on layer problems",
               "coldpress bench layers problems.safetensors\n"
               "coldpress bench layers problems.safetensors --bits 2 --group 64\n"
               "coldpress bench layers problems.safetensors --grid affine,nf4,fp4 --bits 4\n"
               "coldpress bench layers problems.safetensors --ablation\n"
               "coldpress bench model model.gguf --bits 3 --calibration my-text.txt --samples 8 "
               "--seqlen 128\n"
               "coldpress bench matrix model.gguf --presets w3a16,w4a8-smoothquant --methods "
               "rtn,gptq --calibration my-text.txt --samples 4 --seqlen 64 --text my-text.txt "
               "--protocol llama.cpp-512 --windows 1 -o matrix\n"
               "coldpress bench gemm");
  bench->require_subcommand(1);
  add_bench_layers(*bench, run);
  add_bench_model(*bench, run);
  add_bench_matrix(*bench, run);
  add_bench_gemm(*bench, run);
}

}  // namespace coldpress::cli
