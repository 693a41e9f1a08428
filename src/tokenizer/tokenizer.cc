#include "tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <gguf.h>
#include <llama.h>
#include <pthread.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <new>

#include "tokenizer/hf_vocab.h"

namespace coldpress {
namespace {

struct ModelFree {
  void operator()(llama_model* m) const { llama_model_free(m); }
};
struct GgufFree {
  void operator()(gguf_context* g) const { gguf_free(g); }
};
using ModelPtr = std::unique_ptr<llama_model, ModelFree>;
using GgufPtr = std::unique_ptr<gguf_context, GgufFree>;

void drop_log(ggml_log_level /*level*/, const char* /*text*/, void* /*user*/) {}

// libllama's log callback belongs to the process. This is the one place that sets it.
void silence_libllama() {
  static const bool done = [] {
    llama_log_set(drop_log, nullptr);
    return true;
  }();
  static_cast<void>(done);
}

void set_strings(gguf_context* g, const char* key, const std::vector<std::string>& values) {
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const std::string& s : values) pointers.push_back(s.c_str());
  gguf_set_arr_str(g, key, pointers.data(), pointers.size());
}

// Only what libllama's vocabulary reader needs, so that nothing else in a file can reach it.
GgufPtr to_gguf(const Vocab& v) {
  GgufPtr g(gguf_init_empty());
  gguf_set_val_str(g.get(), "general.architecture", "llama");
  if (!v.model_name.empty()) gguf_set_val_str(g.get(), "general.name", v.model_name.c_str());
  gguf_set_val_str(g.get(), "tokenizer.ggml.model", v.model.c_str());
  if (!v.pre.empty()) gguf_set_val_str(g.get(), "tokenizer.ggml.pre", v.pre.c_str());
  set_strings(g.get(), "tokenizer.ggml.tokens", v.tokens);
  gguf_set_arr_data(g.get(), "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v.types.data(),
                    v.types.size());
  if (!v.scores.empty()) {
    gguf_set_arr_data(g.get(), "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, v.scores.data(),
                      v.scores.size());
  } else {
    set_strings(g.get(), "tokenizer.ggml.merges", v.merges);
  }
  if (!v.charsmap.empty()) {
    gguf_set_arr_data(g.get(), "tokenizer.ggml.precompiled_charsmap", GGUF_TYPE_UINT8,
                      v.charsmap.data(), v.charsmap.size());
  }
  const auto set_id = [&](const char* key, std::optional<int32_t> id) {
    if (id) gguf_set_val_u32(g.get(), key, static_cast<uint32_t>(*id));
  };
  const auto set_flag = [&](const char* key, std::optional<bool> flag) {
    if (flag) gguf_set_val_bool(g.get(), key, *flag);
  };
  set_id("tokenizer.ggml.bos_token_id", v.bos);
  set_id("tokenizer.ggml.eos_token_id", v.eos);
  set_id("tokenizer.ggml.unknown_token_id", v.unk);
  set_id("tokenizer.ggml.padding_token_id", v.pad);
  set_flag("tokenizer.ggml.add_bos_token", v.add_bos);
  set_flag("tokenizer.ggml.add_eos_token", v.add_eos);
  set_flag("tokenizer.ggml.add_space_prefix", v.add_space_prefix);
  set_flag("tokenizer.ggml.remove_extra_whitespaces", v.remove_extra_whitespaces);
  return g;
}

// Runs `work` on a thread with a stack of `stack_bytes` (reserved, touched only as used). False if
// the system refuses the thread.
bool run_with_stack(std::size_t stack_bytes, const std::function<void()>& work) {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_t thread{};
  const auto body = [](void* f) -> void* {
    (*static_cast<const std::function<void()>*>(f))();
    return nullptr;
  };
  bool started = pthread_attr_setstacksize(&attributes, stack_bytes) == 0;
  started = started && pthread_create(&thread, &attributes, body,
                                      const_cast<std::function<void()>*>(&work)) == 0;
  pthread_attr_destroy(&attributes);
  if (started) pthread_join(thread, nullptr);
  return started;
}

ChatTemplate chat_template_of(const Vocab& vocab, const std::string& where) {
  ChatTemplate out{vocab.chat_template, {}, where};
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (id) out.special_tokens.emplace_back(name, vocab.tokens[static_cast<std::size_t>(*id)]);
  };
  add("bos_token", vocab.bos);
  add("eos_token", vocab.eos);
  add("unk_token", vocab.unk);
  add("pad_token", vocab.pad);
  return out;
}

// What libllama throws, as a Status.
template <typename F>
Status guarded(const std::string& where, F&& call) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return io_error(where + ": out of memory in the tokenizer");
  } catch (const std::exception& e) {
    return unsupported(fmt::format("{}: the vocabulary cannot tokenise this: {}", where, e.what()));
  }
}

}  // namespace

struct Tokenizer::State {
  ModelPtr model;
  const llama_vocab* vocab = nullptr;  // owned by model
  std::string where;
  std::string kind;
  std::optional<int32_t> bos, eos;
  bool adds_bos = false;
  ChatTemplate chat_template;
};

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;

Result<std::unique_ptr<Tokenizer>> Tokenizer::open(const std::filesystem::path& model_path,
                                                   const std::string& pre) {
  std::error_code ec;
  if (std::filesystem::is_directory(model_path, ec)) {
    COLDPRESS_ASSIGN_OR_RETURN(const GgufMetadata metadata, hf_tokenizer_metadata(model_path, pre));
    return from_metadata(metadata, (model_path / "tokenizer.json").string(), pre);
  }
  COLDPRESS_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::open(model_path));
  return from_metadata(file.content().metadata, model_path.string(), pre);
}

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_metadata(const GgufMetadata& metadata,
                                                            const std::string& where,
                                                            const std::string& pre) {
  COLDPRESS_ASSIGN_OR_RETURN(const Vocab vocab, vocab_from_metadata(metadata, where, pre));
  silence_libllama();
  auto state = std::make_unique<State>();
  const Status loaded = guarded(where, [&]() -> Status {
    const GgufPtr gguf = to_gguf(vocab);
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    const auto no_tensors = [](ggml_tensor*, void*) {};
    state->model.reset(llama_model_init_from_user(gguf.get(), no_tensors, nullptr, params));
    if (state->model == nullptr) {
      return unsupported(fmt::format(
          "{}: llama.cpp refuses this vocabulary (tokenizer.ggml.model \"{}\", .pre \"{}\")", where,
          vocab.model, vocab.pre));
    }
    return {};
  });
  COLDPRESS_RETURN_IF_ERROR(loaded);
  state->vocab = llama_model_get_vocab(state->model.get());
  state->where = where;
  state->kind = vocab.pre.empty() ? vocab.model : fmt::format("{} ({})", vocab.model, vocab.pre);
  state->bos = vocab.bos;
  state->eos = vocab.eos;
  if (vocab.model == "llama") {  // ids 1 and 2 by convention where the file names none
    const auto known = [](llama_token id) {
      return id == LLAMA_TOKEN_NULL ? std::nullopt : std::optional<int32_t>(id);
    };
    if (!state->bos) state->bos = known(llama_vocab_bos(state->vocab));
    if (!state->eos) state->eos = known(llama_vocab_eos(state->vocab));
  }
  state->chat_template = chat_template_of(vocab, where);
  state->adds_bos = llama_vocab_get_add_bos(state->vocab) && state->bos.has_value();
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(state)));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, bool parse_special) const {
  if (text.size() > static_cast<std::size_t>(std::numeric_limits<int32_t>::max()) / 2) {
    return invalid_argument(
        fmt::format("a text of {} bytes is too long to tokenise (limit 1 GiB)", text.size()));
  }
  std::vector<int32_t> ids(text.size() / 2 + 16);
  Status status;
  const auto tokenize = [&] {
    status = guarded(state_->where, [&]() -> Status {
      for (;;) {
        const int32_t n =
            llama_tokenize(state_->vocab, text.data(), static_cast<int32_t>(text.size()),
                           ids.data(), static_cast<int32_t>(ids.size()), false, parse_special);
        if (n >= 0) {
          ids.resize(static_cast<std::size_t>(n));
          return {};
        }
        if (n == std::numeric_limits<int32_t>::min()) {
          return invalid_argument("the text has more than 2^31 tokens");
        }
        ids.resize(static_cast<std::size_t>(-static_cast<int64_t>(n)));
      }
    });
  };
  // std::regex, behind some pre-tokenizers, recurses once per matched character: its stack is
  // measured out by the text, or a long enough run of letters would end the process.
  constexpr std::size_t kStackPerByte = 1024;
  const std::size_t stack = (std::size_t{8} << 20) + text.size() * kStackPerByte;
  if (!run_with_stack(stack, tokenize)) {
    return io_error(fmt::format("no memory for the stack to tokenise {} bytes", text.size()));
  }
  COLDPRESS_RETURN_IF_ERROR(status);
  return ids;
}

int64_t Tokenizer::vocab_size() const { return llama_vocab_n_tokens(state_->vocab); }
std::optional<int32_t> Tokenizer::bos() const { return state_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return state_->eos; }
bool Tokenizer::adds_bos() const { return state_->adds_bos; }
const ChatTemplate& Tokenizer::chat_template() const { return state_->chat_template; }
std::string Tokenizer::describe() const {
  return fmt::format("{}, {} tokens", state_->kind, vocab_size());
}

}  // namespace coldpress
