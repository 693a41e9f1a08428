#include "tokenizer/pre_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "io/json.h"
#include "io/show_name.h"
#include "tokenizer/json_members.h"

namespace coldpress {
namespace {

// A pre-tokenizer in normal form: its steps in order, one text each.
//   "digits"           Digits, each digit on its own
//   "split RE"         Split by a regex, Isolated
//   "keep RE"          Split by a regex, Removed and inverted: the same where RE matches all text
//   "bytes+words"      ByteLevel with its own word regex (GPT-2's)
//   "bytes"            ByteLevel without
//   "digit runs"       Digits, runs of them together
//   "punctuation"      Punctuation, runs of it together
using Steps = std::vector<std::string>;

#define COLDPRESS_CONTRACTIONS R"((?i:'s|'t|'re|'ve|'m|'ll|'d))"
constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 = COLDPRESS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 = COLDPRESS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 = COLDPRESS_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
#define COLDPRESS_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define COLDPRESS_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define COLDPRESS_TAIL R"( ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?)" COLDPRESS_UPPER "*" COLDPRESS_LOWER "+" COLDPRESS_CONTRACTIONS
    R"(?|[^\r\n\p{L}\p{N}]?)" COLDPRESS_UPPER "+" COLDPRESS_LOWER "*" COLDPRESS_CONTRACTIONS
    R"(?|\p{N}{1,3}|)" COLDPRESS_TAIL;
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?)" COLDPRESS_UPPER "*" COLDPRESS_LOWER
    R"(+|[^\r\n\p{L}\p{N}]?)" COLDPRESS_UPPER "+" COLDPRESS_LOWER R"(*|\p{N}|)" COLDPRESS_TAIL;
constexpr std::string_view kDeepseekWords =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
    R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::string_view kDeepseekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-Ჺ)"
    R"(Ჽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝ)"
    R"(ℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀)"
    R"(-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepseekIdeographs = R"([一-龥ࠀ-一가-퟿]+)";

// Every name that libllama knows for byte-level BPE.
constexpr std::string_view kLlamaNames[] = {
    "a.x-4.0",
    "afmoe",
    "bailingmoe",
    "bailingmoe2",
    "bloom",
    "chameleon",
    "chatglm-bpe",
    "codeshell",
    "cohere2moe",
    "command-r",
    "dbrx",
    "deepseek-coder",
    "deepseek-llm",
    "deepseek-r1-qwen",
    "deepseek-v3",
    "default",
    "exaone",
    "exaone-moe",
    "exaone4",
    "f2llmv2",
    "falcon",
    "falcon-h1",
    "falcon3",
    "gigachat",
    "glm4",
    "glm5",
    "gpt-2",
    "gpt-4o",
    "gpt3-finnish",
    "granite-docling",
    "granite-embed-multi-97m",
    "grok-2",
    "hunyuan",
    "hunyuan-dense",
    "hy_v4",
    "jais",
    "jais-2",
    "jina-de",
    "jina-es",
    "jina-v1-en",
    "jina-v2-code",
    "jina-v2-de",
    "jina-v2-es",
    "jina-v5-nano",
    "joyai-llm",
    "kanana2",
    "kormo",
    "laguna",
    "lfm2",
    "llada-moe",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "llama4",
    "megrez",
    "mellum",
    "mellum2",
    "midm-2.0",
    "minerva-7b",
    "minicpm5",
    "minimax-m2",
    "modern-bert",
    "mpt",
    "olmo",
    "phi-2",
    "pixtral",
    "poro-chat",
    "qwen2",
    "qwen35",
    "refact",
    "roberta-bpe",
    "seed-coder",
    "smaug-bpe",
    "smollm",
    "solar-open",
    "spark2_5",
    "stablelm2",
    "starcoder",
    "superbpe",
    "talkie",
    "tekken",
    "tiny_aya",
    "trillion",
    "ufakzeka",
    "viking",
    "youtu",
};

struct Row {
  std::string_view name;  // what a tokenizer.json of this form is called in GGUF
  bool ignore_merges;
  Steps steps;
  std::vector<std::string_view> aliases;  // other llama.cpp names of the same behaviour
  bool adds_bos = false;                  // unless the metadata says otherwise
};

std::string split(std::string_view regex) { return fmt::format("split {}", regex); }

// Every row's steps are exactly what llama.cpp does for its names.
std::vector<Row> rows() {
  return {
      {"smollm",
       false,
       {"digits", "bytes+words"},
       {"starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}},
      {"gpt-2",
       false,
       {"bytes+words"},
       {"phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
        "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "modern-bert"}},
      {"llama-bpe",
       true,
       {split(kLlama3), "bytes"},
       {"llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       true},
      {"glm4", true, {split(kLlama3), "bytes"}, {}},
      {"smaug-bpe", false, {split(kLlama3), "bytes"}, {"dbrx", "chatglm-bpe"}},
      {"qwen2",
       false,
       {split(kQwen2), "bytes"},
       {"deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open",
        "grok-2"}},
      {"qwen35", false, {split(kQwen35), "bytes"}, {}},
      {"gpt-4o", false, {split(kGpt4o), "bytes"}, {"llama4", "kanana2"}},
      {"tekken", true, {split(kTekken), "bytes"}, {}, true},
      {"deepseek-v3",
       false,
       {split(R"(\p{N}{1,3})"), split("[一-龥぀-ゟ゠-ヿ]+"), split(kDeepseekWords), "bytes"},
       {"hunyuan-dense", "joyai-llm"}},
      {"falcon", false, {"punctuation", "bytes+words", "digit runs", split("[0-9][0-9][0-9]")}, {}},
      {"deepseek-llm",
       false,
       {split(R"([\r\n])"), split(kDeepseekLetters), split(R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)"),
        split(R"(\s+$)"), split(kDeepseekIdeographs), "digits", "bytes"},
       {}},
      {"deepseek-coder",
       false,
       {split(R"([\r\n])"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"),
        split(kDeepseekIdeographs), "digits", "bytes"},
       {}},
  };
}

std::string known_names() {
  std::string names;
  for (const Row& row : rows()) names += (names.empty() ? "" : ", ") + std::string(row.name);
  return names;
}

// Line ends may be spelled as characters or as escapes.
std::string normal_regex(std::string_view regex) {
  std::string out;
  for (const char c : regex) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

// Appends the steps of `node`. A step outside the normal form becomes its own JSON text, which
// matches no row and shows up in the error.
void append_steps(const Json& node, Steps& steps, int depth) {
  const std::string type = text(node, "type");
  if (type == "Sequence" && depth < 8) {
    if (const auto* parts = member(node, "pretokenizers"); parts != nullptr && parts->is_array()) {
      for (const auto& part : *parts) append_steps(part, steps, depth + 1);
      return;
    }
  }
  if (type == "Digits") {
    steps.emplace_back(flag(node, "individual_digits").value_or(false) ? "digits" : "digit runs");
    return;
  }
  if (type == "Punctuation" && text(node, "behavior") == "Contiguous") {
    steps.emplace_back("punctuation");
    return;
  }
  if (type == "ByteLevel" && !flag(node, "add_prefix_space").value_or(true)) {
    steps.emplace_back(flag(node, "use_regex").value_or(true) ? "bytes+words" : "bytes");
    return;
  }
  if (type == "Split") {
    const auto* pattern = member(node, "pattern");
    const std::string regex = pattern == nullptr ? "" : text(*pattern, "Regex");
    const std::string behavior = text(node, "behavior");
    const bool invert = flag(node, "invert").value_or(false);
    if (!regex.empty() && behavior == "Isolated" && !invert) {
      steps.push_back(split(normal_regex(regex)));
      return;
    }
    if (!regex.empty() && behavior == "Removed" && invert) {
      steps.push_back("keep " + normal_regex(regex));
      return;
    }
  }
  steps.push_back(node.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json step_json(const std::string& step) {
  if (step == "digits") return {{"type", "Digits"}, {"individual_digits", true}};
  if (step == "digit runs") return {{"type", "Digits"}, {"individual_digits", false}};
  if (step == "punctuation") return {{"type", "Punctuation"}, {"behavior", "Contiguous"}};
  if (step == "bytes") return byte_level(false);
  if (step == "bytes+words") return byte_level(true);
  return {{"type", "Split"},
          {"pattern", {{"Regex", step.substr(step.find(' ') + 1)}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

}  // namespace

Result<std::string> recognise_pre_tokenizer(const Json& node, bool ignore_merges,
                                            const std::string& where) {
  Steps steps;
  append_steps(node, steps, 0);
  // Keeping what matches is isolating it where the regex leaves nothing over; so do all the regexes
  // in the table that come alone before the bytes.
  if (steps.size() == 2 && steps[0].rfind("keep ", 0) == 0) steps[0].replace(0, 4, "split");
  // GPT-2's words, cut by a Split of its own.
  if (steps == Steps{split(kGpt2), "bytes"}) steps = {"bytes+words"};
  bool known_steps = false;
  for (const Row& row : rows()) {
    if (row.steps != steps) continue;
    if (row.ignore_merges == ignore_merges) return std::string(row.name);
    known_steps = true;
  }
  std::string seen;
  for (const std::string& s : steps) seen += (seen.empty() ? "" : ", then ") + s;
  if (seen.size() > 400) seen = seen.substr(0, 400) + "...";
  return unsupported(fmt::format(
      "{}: this pre-tokenizer is not one that llama.cpp knows: {}{} (known: {}); if it equals a "
      "known "
      "one, name that with --tokenizer-pre",
      where, seen, known_steps ? fmt::format(" with ignore_merges {}", ignore_merges) : "",
      known_names()));
}

Status check_pre_tokenizer_name(std::string_view name, const std::string& where) {
  if (std::find(std::begin(kLlamaNames), std::end(kLlamaNames), name) != std::end(kLlamaNames)) {
    return {};
  }
  return unsupported(fmt::format(
      "{}: {}; choose one with --tokenizer-pre (known: {})", where,
      name.empty() ? std::string("the file does not name its pre-tokenizer (tokenizer.ggml.pre)")
                   : fmt::format("the pre-tokenizer {} is not known", show_name(name)),
      fmt::join(kLlamaNames, ", ")));
}

Result<PreTokenizerJson> pre_tokenizer_json(std::string_view name, const std::string& where) {
  for (const Row& row : rows()) {
    if (row.name != name &&
        std::find(row.aliases.begin(), row.aliases.end(), name) == row.aliases.end()) {
      continue;
    }
    PreTokenizerJson out;
    out.ignore_merges = row.ignore_merges;
    out.adds_bos = row.adds_bos;
    if (row.steps.size() == 1) {
      out.node = step_json(row.steps[0]);
      return out;
    }
    Json parts = Json::array();
    for (const std::string& step : row.steps) parts.push_back(step_json(step));
    out.node = {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
    return out;
  }
  return unsupported(
      fmt::format("{}: the pre-tokenizer \"{}\" cannot be written as tokenizer.json (known: {})",
                  where, name, known_names()));
}

}  // namespace coldpress
